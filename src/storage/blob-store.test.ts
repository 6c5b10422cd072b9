import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { blobStoreContract } from '../../test/support/blob-store-contract.ts';
import { checkBlobName, openDirectoryBlobStore } from './blob-store.ts';

blobStoreContract('directory blob store', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'blobs-'));
  const root = join(folder, 'blobs');
  return {
    store: await openDirectoryBlobStore(root),
    root,
    reopen: () => openDirectoryBlobStore(root),
    close: async () => rmSync(folder, { recursive: true, force: true }),
  };
});

describe('a directory', () => {
  test('is called a directory', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'blobs-'));
    try {
      assert.equal((await openDirectoryBlobStore(folder)).kind, 'directory');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

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
});
