import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  isSealedFile,
  readSealedFile,
  SEALED_CHUNK_BYTES,
  type SealedHeader,
  sealStream,
} from './sealed-file.ts';
import { SecretBuffer } from './secret-buffer.ts';

const HEADER: SealedHeader = {
  v: 1,
  purpose: 'data',
  context: { name: 'flows.csv' },
  wraps: { v: 1, dataKeyId: 'data-1', wraps: [{ keyId: 'k', recipient: 'store', wrapped: 'AAAA' }] },
};

function newKey(): SecretBuffer {
  return SecretBuffer.from(Uint8Array.from({ length: 32 }, (_, i) => i));
}

async function sealed(plain: Uint8Array, header = HEADER, step = 10_000): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of sealStream(header, newKey(), inPieces(plain, step))) pieces.push(piece);
  return Buffer.concat(pieces);
}

async function* inPieces(bytes: Uint8Array, step: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += step) yield bytes.subarray(at, at + step);
}

async function opened(file: Uint8Array, step = 7_000, key = newKey()): Promise<Buffer> {
  const { open } = await readSealedFile(inPieces(file, step));
  const chunks: Uint8Array[] = [];
  for await (const chunk of open(key)) chunks.push(chunk.slice());
  return Buffer.concat(chunks);
}

function pattern(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8)) & 0xff);
}

test('what is sealed opens again, at lengths around a chunk, in pieces of any size', async () => {
  for (const length of [0, 1, SEALED_CHUNK_BYTES - 1, SEALED_CHUNK_BYTES, SEALED_CHUNK_BYTES + 1, 200_000]) {
    const plain = pattern(length);
    const file = await sealed(plain);
    assert.ok(isSealedFile(file));
    assert.deepEqual(await opened(file), Buffer.from(plain));
  }
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ maxLength: 300 }),
      fc.integer({ min: 1, max: 400 }),
      async (plain, step) => {
        assert.deepEqual(await opened(await sealed(plain, HEADER, step), step), Buffer.from(plain));
      },
    ),
    { seed: 20_261_123, numRuns: 50 },
  );
});

test('a sealed file that is cut off anywhere does not open', async () => {
  const small = await sealed(pattern(100));
  for (let length = 0; length < small.length; length++) {
    await assert.rejects(opened(small.subarray(0, length)), { code: 'crypto.integrity' }, `${length} bytes`);
  }
  const large = await sealed(pattern(3 * SEALED_CHUNK_BYTES));
  const chunk = SEALED_CHUNK_BYTES + 16;
  for (const chunks of [1, 2]) {
    await assert.rejects(opened(large.subarray(0, large.length - chunks * chunk)), {
      code: 'crypto.integrity',
    });
  }
});

test('chunks that are exchanged, doubled or left out do not open', async () => {
  const chunk = SEALED_CHUNK_BYTES + 16;
  const file = await sealed(pattern(4 * SEALED_CHUNK_BYTES));
  const head = file.subarray(0, file.length - 4 * chunk);
  const [a, b, c, d] = [0, 1, 2, 3].map((i) => file.subarray(head.length + i * chunk).subarray(0, chunk));
  const of = (...chunks: (Buffer | undefined)[]) => Buffer.concat([head, ...chunks.map((x) => x as Buffer)]);
  assert.deepEqual(await opened(of(a, b, c, d)), Buffer.from(pattern(4 * SEALED_CHUNK_BYTES)));
  for (const other of [of(b, a, c, d), of(a, c, d), of(a, b, b, d), of(a, b, d, c), of(a, b, c, d, d)]) {
    await assert.rejects(opened(other), { code: 'crypto.integrity' });
  }
  // A chunk of another file under the same data key and header.
  const other = await sealed(pattern(4 * SEALED_CHUNK_BYTES));
  await assert.rejects(opened(of(other.subarray(head.length).subarray(0, chunk), b, c, d)), {
    code: 'crypto.integrity',
  });
});

test('a flipped bit anywhere, another key and another header do not open', async () => {
  const file = await sealed(pattern(40));
  for (let i = 0; i < file.length; i++) {
    const flipped = Buffer.from(file);
    flipped[i] = (flipped[i] as number) ^ 1;
    await assert.rejects(
      opened(flipped),
      ({ code }: { code: string }) => ['crypto.integrity', 'crypto.wrap-invalid'].includes(code),
      `byte ${i}`,
    );
  }
  await assert.rejects(opened(file, 7_000, SecretBuffer.random(32)), { code: 'crypto.integrity' });
});

test('chunks are wiped when their reader says so', async () => {
  const plain = pattern(150_000);
  const kept: Uint8Array[] = [];
  const hash = createHash('sha256');
  const { header, open } = await readSealedFile(inPieces(await sealed(plain), 1 << 18));
  assert.deepEqual(header, HEADER);
  const content = open(newKey());
  for await (const chunk of content) kept.push(chunk);
  for (const chunk of kept) hash.update(chunk);
  content.wipe();
  assert.equal(hash.digest('hex'), createHash('sha256').update(plain).digest('hex'));
  assert.equal(kept.length, 3);
  assert.ok(kept.every((chunk) => chunk.every((byte) => byte === 0)));
});
