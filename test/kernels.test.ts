import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { suite, test } from 'node:test';
import { buildKernel, KERNELS, kernelPath } from '../scripts/kernels.ts';
import { miss } from './support/requires.ts';

suite('the kernels', () => {
  for (const name of Object.keys(KERNELS)) {
    test(`${name}.wasm is what ${name}.ts compiles to; \`npm run kernels\` writes it anew`, async (t) => {
      try {
        await import('assemblyscript/asc');
      } catch {
        miss(t, 'needs the package assemblyscript');
        return;
      }
      const built = await buildKernel(name);
      assert.ok(Buffer.from(built).equals(readFileSync(kernelPath(name))), `kernels/${name}.wasm is stale`);
    });
  }
});
