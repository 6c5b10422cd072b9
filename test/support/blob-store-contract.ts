import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { armFaultPoints } from '../../src/base/index.ts';
import type { BlobStore } from '../../src/storage/index.ts';

/** An empty store, opened for one test. */
export interface OpenedStore {
  readonly store: BlobStore;
  /** The folder in which its files are seen. */
  readonly root: string;
  /** Opens the same store once more, as after a crash. */
  reopen(): Promise<BlobStore>;
  close(): Promise<void>;
}

const bytes = Buffer.from('weights');

export const HOSTILE_NAMES: readonly (readonly [string, string])[] = [
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
  ['snapshot', 'models/flow@promoted'],
  ['too long', 'a'.repeat(600)],
];

/** What every blob store does, whatever it stands on. `open` gets a name that no other test of `title` has. */
export function blobStoreContract(title: string, open: (test: string) => Promise<OpenedStore>): void {
  const contract = (name: string, run: (opened: OpenedStore) => Promise<void>) =>
    test(name, async () => {
      const opened = await open(name);
      try {
        await run(opened);
      } finally {
        armFaultPoints(undefined);
        await opened.close();
      }
    });

  describe(title, () => {
    contract('gives back what was put, and says what it holds', async ({ store }) => {
      await store.put('models/flow/1.0.0/manifest.json', bytes);
      assert.deepEqual(Buffer.from(await store.get('models/flow/1.0.0/manifest.json')), bytes);
      assert.equal(await store.has('models/flow/1.0.0/manifest.json'), true);
      assert.equal(await store.has('models/flow/1.0.0'), false);
      assert.equal(await store.has('models/flow/1.0.0/manifest.json/x'), false);
    });

    contract('takes the same bytes twice and refuses others', async ({ store }) => {
      await store.put('a', bytes);
      await store.put('a', bytes);
      await assert.rejects(store.put('a', Buffer.from('other')), { code: 'storage.blob-exists' });
      assert.deepEqual(Buffer.from(await store.get('a')), bytes);
    });

    contract('lists below a prefix that ends at a border of segments', async ({ store }) => {
      const names = ['m/b/2', 'm/a/1', 'm/ab/1', 'z', 'models/dga/1.0.0/a', 'models/flow/1.0.0/b'];
      for (const name of names) await store.put(name, bytes);
      assert.deepEqual(await store.list('m/a'), ['m/a/1']);
      assert.deepEqual(await store.list('m'), ['m/a/1', 'm/ab/1', 'm/b/2']);
      assert.deepEqual(await store.list('z'), ['z']);
      assert.deepEqual(await store.list('models'), ['models/dga/1.0.0/a', 'models/flow/1.0.0/b']);
      assert.deepEqual(await store.list('none'), []);
      assert.deepEqual(await store.list(''), [...names].sort());
    });

    contract('deletes a blob and the folders it leaves empty, and no others', async ({ store, root }) => {
      await store.put('m/a/1', bytes);
      await store.put('m/b', bytes);
      await store.put('models/flow/1.0.0/a', bytes);
      await store.delete('m/a/1');
      await store.delete('m/a/1');
      assert.deepEqual(readdirSync(join(root, 'm')), ['b']);
      await store.delete('m/b');
      await store.delete('models/flow/1.0.0/a');
      assert.equal(readdirSync(root).includes('m'), false);
      assert.deepEqual(await store.list(''), []);
      await assert.rejects(store.get('m/b'), { code: 'storage.blob-missing' });
      await store.put('models/flow/1.0.0/a', bytes);
      assert.deepEqual(await store.list(''), ['models/flow/1.0.0/a']);
    });

    contract('keeps its files from other users', async ({ store, root }) => {
      await store.put('m/a', bytes);
      assert.equal(statSync(root).mode & 0o777, 0o700);
      assert.equal(statSync(join(root, 'm/a')).mode & 0o777, 0o600);
      assert.equal(statSync(join(root, 'm')).mode & 0o777, 0o700);
    });

    contract('refuses every hostile name', async ({ store, root }) => {
      writeFileSync(join(root, 'secret'), 'secret');
      const expected = { code: 'storage.name-invalid', category: 'validation' };
      for (const [title, name] of HOSTILE_NAMES) {
        await assert.rejects(store.get(name), expected, title);
        await assert.rejects(store.put(name, bytes), expected, title);
        await assert.rejects(store.has(name), expected, title);
        await assert.rejects(store.delete(name), expected, title);
        if (name !== '') await assert.rejects(store.list(name), expected, title);
      }
      assert.deepEqual(await store.list(''), ['secret']);
    });

    contract('refuses links to files, to folders, and below linked folders', async ({ store, root }) => {
      const outside = `${root}-outside`;
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
      rmSync(outside, { recursive: true });
    });

    contract('leaves the old state when a write is cut short, and cleans up at the next start', async (o) => {
      await o.store.put('a', bytes);
      armFaultPoints((name) => {
        if (name === 'base.files.before-rename') throw new TypeError('cut');
      });
      await assert.rejects(o.store.put('b', bytes), TypeError);
      armFaultPoints(undefined);
      assert.deepEqual(await o.store.list(''), ['a']);
      writeFileSync(join(o.root, '.tmp-b-123'), 'half');
      const again = await o.reopen();
      assert.equal(readdirSync(o.root).includes('.tmp-b-123'), false);
      assert.deepEqual(await again.list(''), ['a']);
    });

    contract('holds the blob when the write is durable but reported lost', async ({ store }) => {
      armFaultPoints((name) => {
        if (name === 'base.files.after-rename') throw new TypeError('cut');
      });
      await assert.rejects(store.put('models/flow/1.0.0/b', bytes), TypeError);
      armFaultPoints(undefined);
      await store.put('models/flow/1.0.0/b', bytes);
      assert.deepEqual(Buffer.from(await store.get('models/flow/1.0.0/b')), bytes);
    });

    contract('takes note of a promotion as often as it is told', async ({ store }) => {
      await store.put('models/flow/1.0.0/a', bytes);
      const digest = `sha256:${'0a'.repeat(32)}` as const;
      await store.onPromotion({ name: 'flow', version: '1.0.0', digest });
      await store.onPromotion({ name: 'flow', version: '1.0.0', digest });
      assert.deepEqual(await store.list(''), ['models/flow/1.0.0/a']);
    });
  });
}
