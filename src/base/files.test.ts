import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { armFaultPoints } from './fault-point.ts';
import { writeFileAtomic } from './files.ts';

describe('writeFileAtomic', () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'guardian-files-'));
  });
  after(() => rm(folder, { recursive: true }));
  afterEach(() => armFaultPoints(undefined));

  it('replaces the content and keeps the mode asked for', async () => {
    const path = join(folder, 'a');
    await writeFileAtomic(path, 'one', 0o600);
    await writeFileAtomic(path, 'two', 0o600);
    assert.equal(await readFile(path, 'utf8'), 'two');
    assert.equal((await stat(path)).mode & 0o777, 0o600);
  });

  it('leaves the old file and no temporary one when it fails before the rename', async () => {
    const path = join(folder, 'b');
    await writeFileAtomic(path, 'old');
    armFaultPoints((name) => {
      if (name === 'base.files.before-rename') throw new RangeError('disk');
    });
    await assert.rejects(writeFileAtomic(path, 'new'), RangeError);
    assert.equal(await readFile(path, 'utf8'), 'old');
    assert.deepEqual(
      (await readdir(folder)).filter((name) => name.startsWith('.tmp')),
      [],
    );
  });

  it('has the new file in place when only the report of success is lost', async () => {
    const path = join(folder, 'c');
    armFaultPoints((name) => {
      if (name === 'base.files.after-rename') throw new RangeError('crash');
    });
    await assert.rejects(writeFileAtomic(path, 'new'), RangeError);
    assert.equal(await readFile(path, 'utf8'), 'new');
  });
});
