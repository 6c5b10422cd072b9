import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { armFaultPoints } from '../base/index.ts';
import { claimLogFolder } from './log-folder.ts';

let root: string;
let base: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'log-folder-'));
  base = join(root, 'audit');
});
afterEach(() => {
  armFaultPoints(undefined);
  rmSync(root, { recursive: true, force: true });
});

function put(folder: string, name: string, text: string): string {
  const path = join(folder, 'tile', name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  return path;
}

describe("the log's folder", () => {
  test('is named for the token where there is none, and is not made', async () => {
    assert.equal(await claimLogFolder(base, 3), `${base}-3`);
    assert.equal(existsSync(`${base}-3`), false);
  });

  test('is taken from its last writer, whose open files are not the log any more', async () => {
    put(base, 'entries/000', 'full');
    const path = put(base, 'entries/001', 'one,');
    const late = await open(path, 'r+');
    const first = await claimLogFolder(base, 4);
    assert.equal(existsSync(base), false);
    await late.write('two,', 4);
    await late.sync();
    assert.equal(readFileSync(join(first, 'tile/entries/001'), 'utf8'), 'one,');
    await late.close();
    assert.equal(await claimLogFolder(base, 4), first);
    assert.equal(await claimLogFolder(base, 7), `${base}-7`);
    assert.equal(readFileSync(`${base}-7/tile/entries/000`, 'utf8'), 'full');
    await assert.rejects(claimLogFolder(base, 6), { code: 'storage.fenced' });
  });

  test('copies the last tile of each level, also beyond a thousand', async () => {
    const names = ['entries/999', 'entries/x001/000', 'entries/x001/067', '0/x001/067', '1/005', '2/000'];
    const paths = names.map((name) => put(`${base}-1`, name, name));
    const files = await Promise.all(paths.map((path) => open(path, 'r+')));
    await claimLogFolder(base, 2);
    await Promise.all(files.map((file) => file.write('late')));
    const kept = names.filter((name) => readFileSync(join(`${base}-2`, 'tile', name), 'utf8') === name);
    assert.deepEqual(
      kept,
      names.filter((name) => !['entries/999', 'entries/x001/000'].includes(name)),
    );
    await Promise.all(files.map((file) => file.close()));
  });

  test('is left to the next where a taking was cut short, and what a late writer made anew is passed by', async () => {
    for (const [i, cut] of ['storage.log-folder.renamed', 'storage.log-folder.copied'].entries()) {
      if (i === 0) put(`${base}-1`, 'entries/000', 'log');
      armFaultPoints((name) => {
        if (name === cut) throw new TypeError('cut');
      });
      await assert.rejects(claimLogFolder(base, 2 + i), TypeError);
      armFaultPoints(undefined);
    }
    put(`${base}-1`, 'entries/000', 'stray');
    assert.equal(readFileSync(join(await claimLogFolder(base, 9), 'tile/entries/000'), 'utf8'), 'log');
  });
});
