import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { ServedHouse } from './served-guardian.ts';

/** Memory after a full collection, in bytes. */
export interface MemoryPoint {
  readonly cycle: number;
  readonly heap: number;
  /** Buffers and the memory of kernels, outside of the heap. */
  readonly external: number;
  readonly rss: number;
}

export interface LoadCycles {
  readonly cycles: number;
  readonly points: readonly MemoryPoint[];
  /** Models and bytes the engine held while the model was unloaded, at the end. */
  readonly leftModels: number;
  readonly leftBytes: number;
  /** Rows that were not scored as the first one was. */
  readonly wrong: number;
  readonly seconds: number;
}

/**
 * Loads and unloads the champion so many times through the registry, its weights decrypted and verified each time, scores
 * a row in between, and looks at the memory `looks` times.
 */
export async function loadAndUnload(house: ServedHouse, cycles: number, looks: number): Promise<LoadCycles> {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const { guardian, schema } = house;
  const values = new Float32Array(schema.schema.columns.length).fill(1);
  const points: MemoryPoint[] = [];
  const started = performance.now();
  let expected: number | undefined;
  let wrong = 0;
  for (let cycle = 1; cycle <= cycles; cycle++) {
    await guardian.load('flow@champion');
    const [score] = await guardian.scoreVectors('flow', values, 1);
    expected ??= score?.probability;
    if (score?.probability !== expected) wrong++;
    await guardian.unload('flow');
    if (cycle % Math.ceil(cycles / looks) !== 0) continue;
    // The second collection frees what the first one only finalized.
    for (let i = 0; i < 2; i++) {
      collect();
      await new Promise((resolve) => setImmediate(resolve));
    }
    const { heapUsed, external, rss } = process.memoryUsage();
    points.push({ cycle, heap: heapUsed, external, rss });
  }
  const { models, bytes } = guardian.engine.models.cacheStats;
  const seconds = (performance.now() - started) / 1_000;
  return { cycles, points, leftModels: models, leftBytes: bytes, wrong, seconds };
}
