import assert from 'node:assert/strict';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import fc from 'fast-check';
import { armFaultPoints } from '../base/index.ts';
import { type BlobStore, checkBlobName, openDirectoryBlobStore } from './blob-store.ts';

let folder: string;
let root: string;
let store: BlobStore;
const bytes = Buffer.from('weights');

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'blobs-'));
  root = join(folder, 'blobs');
  store = await openDirectoryBlobStore(root);
});

afterEach(() => {
  armFaultPoints(undefined);
  rmSync(folder, { recursive: true, force: true });
});

const HOSTILE: readonly (readonly [string, string])[] = [
  ['empty', ''],
  ['parent', '..'],
  ['parent inside', 'models/../../secret'],
  ['parent at the end', 'models/..'],
  ['two dots in a segment', 'models/a..b'],
  ['this folder', './models'],
  ['absolute', '/etc/passwd'],
  ['double slash', 'models//x'],
  ['closing slash', 'models/'],
  ['backslash', 'models\\..\\secret'],
  ['drive letter', 'c:/windows'],
  ['NUL', 'models/x\0.json'],
  ['newline', 'models/x\n'],
  ['encoded parent', '%2e%2e/secret'],
  ['encoded slash', 'models%2fx'],
  ['double encoded', '%252e%252e%252fsecret'],
  ['full-width dots', '\uff0e\uff0e/secret'],
  ['overlong-looking text', '\u00c0\u00ae/secret'],
  ['hidden file', '.tmp-x'],
  ['upper case', 'Models/x'],
  ['space', 'models/a b'],
  ['too long', 'a'.repeat(600)],
];

describe('directory blob store', () => {
  test('gives back what was put, and says what it holds', async () => {
    await store.put('models/flow/1.0.0/manifest.json', bytes);
    assert.deepEqual(Buffer.from(await store.get('models/flow/1.0.0/manifest.json')), bytes);
    assert.equal(await store.has('models/flow/1.0.0/manifest.json'), true);
    assert.equal(await store.has('models/flow/1.0.0'), false);
    assert.equal(await store.has('models/flow/1.0.0/manifest.json/x'), false);
  });

  test('takes the same bytes twice and refuses others', async () => {
    await store.put('a', bytes);
    await store.put('a', bytes);
    await assert.rejects(store.put('a', Buffer.from('other')), { code: 'storage.blob-exists' });
    assert.deepEqual(Buffer.from(await store.get('a')), bytes);
  });

  test('lists below a prefix that ends at a border of segments', async () => {
    for (const name of ['m/b/2', 'm/a/1', 'm/ab/1', 'z']) await store.put(name, bytes);
    assert.deepEqual(await store.list('m/a'), ['m/a/1']);
    assert.deepEqual(await store.list('m'), ['m/a/1', 'm/ab/1', 'm/b/2']);
    assert.deepEqual(await store.list('z'), ['z']);
    assert.deepEqual(await store.list('none'), []);
    assert.equal((await store.list('')).length, 4);
  });

  test('deletes a blob and the folders it leaves empty, and no others', async () => {
    await store.put('m/a/1', bytes);
    await store.put('m/b', bytes);
    await store.delete('m/a/1');
    await store.delete('m/a/1');
    assert.deepEqual(readdirSync(join(root, 'm')), ['b']);
    await store.delete('m/b');
    assert.deepEqual(readdirSync(root), []);
    await assert.rejects(store.get('m/b'), { code: 'storage.blob-missing' });
  });

  test('keeps its files from other users', async () => {
    await store.put('m/a', bytes);
    assert.equal(statSync(join(root, 'm/a')).mode & 0o777, 0o600);
    assert.equal(statSync(join(root, 'm')).mode & 0o777, 0o700);
  });

  for (const [title, name] of HOSTILE) {
    test(`refuses a hostile name: ${title}`, async () => {
      writeFileSync(join(folder, 'secret'), 'secret');
      const expected = { code: 'storage.name-invalid', category: 'validation' };
      await assert.rejects(store.get(name), expected);
      await assert.rejects(store.put(name, bytes), expected);
      await assert.rejects(store.has(name), expected);
      await assert.rejects(store.delete(name), expected);
      if (name !== '') await assert.rejects(store.list(name), expected);
      assert.equal(readFileSync(join(folder, 'secret'), 'utf8'), 'secret');
    });
  }

  test('never resolves an accepted name outside its folder', () => {
    const piece = fc.constantFrom('.', '..', '/', '\\', '%', 'a', 'b0', '-', '\0', 'A', '_', '2e');
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const name = pieces.join('');
        try {
          checkBlobName(name);
        } catch {
          return;
        }
        assert.ok(join('/root', name).startsWith('/root/'));
        assert.ok(!name.includes('..') && !name.includes('\\'));
      }),
      { numRuns: 2000 },
    );
  });

  test('refuses links to files, to folders, and below linked folders', async () => {
    const outside = join(folder, 'outside');
    mkdirSync(outside);
    writeFileSync(join(outside, 'x'), 'secret');
    symlinkSync(join(outside, 'x'), join(root, 'file-link'));
    symlinkSync(outside, join(root, 'folder-link'));
    const expected = { code: 'storage.blob-not-plain', category: 'security' };
    for (const name of ['file-link', 'folder-link', 'folder-link/x', 'folder-link/new']) {
      await assert.rejects(store.get(name), expected);
      await assert.rejects(store.put(name, bytes), expected);
      await assert.rejects(store.delete(name), expected);
    }
    await assert.rejects(store.list(''), expected);
    assert.deepEqual(readdirSync(outside), ['x']);
  });

  test('leaves the old state when a write is cut short, and cleans up at the next start', async () => {
    await store.put('a', bytes);
    armFaultPoints((name) => {
      if (name === 'base.files.before-rename') throw new TypeError('cut');
    });
    await assert.rejects(store.put('b', bytes), TypeError);
    armFaultPoints(undefined);
    assert.deepEqual(await store.list(''), ['a']);
    writeFileSync(join(root, '.tmp-b-123'), 'half');
    store = await openDirectoryBlobStore(root);
    assert.deepEqual(readdirSync(root), ['a']);
  });

  test('holds the blob when the write is durable but reported lost', async () => {
    armFaultPoints((name) => {
      if (name === 'base.files.after-rename') throw new TypeError('cut');
    });
    await assert.rejects(store.put('b', bytes), TypeError);
    armFaultPoints(undefined);
    await store.put('b', bytes);
    assert.deepEqual(Buffer.from(await store.get('b')), bytes);
  });
});
