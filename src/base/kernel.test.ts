import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { BaseError } from './errors.ts';
import { instantiateKernel, loadKernel, newKernelMemory, newSharedKernelMemory } from './kernel.ts';

const code = (expected: string) => (error: unknown) => error instanceof BaseError && error.code === expected;

suite('a kernel', () => {
  test('is compiled once a process', () => {
    assert.equal(loadKernel('meter'), loadKernel('meter'));
  });

  test('is named where it is missing', () => {
    assert.throws(() => loadKernel('no-such-kernel'), code('base.kernel-missing'));
  });

  test('is refused where its file is damaged', () => {
    const folder = mkdtempSync(join(tmpdir(), 'kernel-'));
    try {
      writeFileSync(join(folder, 'broken.wasm'), 'not a module');
      const url = pathToFileURL(`${folder}/`);
      assert.throws(() => loadKernel('broken', url), code('base.kernel-invalid'));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('refuses memory of another kind', () => {
    const shared = newSharedKernelMemory({ initialPages: 1, maximumPages: 2 });
    assert.throws(() => instantiateKernel(loadKernel('meter'), shared), code('base.kernel-invalid'));
  });

  test('works on the memory of its caller', () => {
    const memory = newKernelMemory({ initialPages: 1, maximumPages: 65_536 });
    const functions = instantiateKernel<Record<string, unknown>>(loadKernel('meter'), memory);
    assert.ok(Object.values(functions).some((value) => typeof value === 'function'));
    assert.equal(memory.grow(1), 1);
    assert.equal(memory.buffer.byteLength, 131_072);
  });
});
