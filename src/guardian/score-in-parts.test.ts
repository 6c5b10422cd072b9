import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BatchSize, ManualClock } from '../base/index.ts';
import type { FeatureBatch } from '../features/index.ts';
import type { Score } from '../models/index.ts';
import { scoreInParts } from './score-in-parts.ts';

test('scores are those of the whole batch, in order, in parts that the target allows', async () => {
  const rows = 1_000;
  const rejected = [0, 1, 7, 8, 500, 999].map(
    (row) => ({ row, code: 'features.out-of-range', column: `c${row}` }) as const,
  );
  const batch: FeatureBatch = {
    ...{ schemaId: 'sha256:0', sourceKind: 'packets', rows, columns: 2, rejected },
    values: Float32Array.from({ length: rows * 2 }, (_, i) => i),
  };
  const clock = new ManualClock(0);
  const sizes = new BatchSize({ targetMs: 50, maxItems: 10_000 });
  const parts: number[] = [];
  const scores = await scoreInParts(batch, {
    sizes,
    clock,
    score: async (part) => {
      parts.push(part.rows);
      clock.advance(1 + part.rows * 0.2);
      const refused = new Map(part.rejected.map(({ row, column }) => [row, column]));
      // A score stands for its row: the first value of it, and why it was refused.
      return Array.from({ length: part.rows }, (_, row) => {
        const reason = refused.get(row);
        return { margin: part.values[row * 2], ...(reason !== undefined && { reason }) } as unknown as Score;
      });
    },
  });
  const seen = scores as unknown as readonly { readonly margin: number; readonly reason?: string }[];
  assert.deepEqual(
    seen.map(({ margin }) => margin / 2),
    Array.from({ length: rows }, (_, row) => row),
  );
  assert.deepEqual(
    seen.flatMap(({ reason }) => reason ?? []),
    ['c0', 'c1', 'c7', 'c8', 'c500', 'c999'],
  );
  assert.equal(
    parts.reduce((sum, n) => sum + n, 0),
    rows,
  );
  assert.ok(Math.max(...parts) > 50 && Math.max(...parts) * 0.2 + 1 <= 25, parts.join());
});

test('an empty batch is scored as it is', async () => {
  const batch: FeatureBatch = {
    ...{ schemaId: 'sha256:0', sourceKind: 'packets', rows: 0, columns: 2, rejected: [] },
    values: new Float32Array(0),
  };
  const sizes = new BatchSize({ targetMs: 50, maxItems: 10_000 });
  const never = { sizes, clock: new ManualClock(0), score: () => assert.fail('nothing to score') };
  assert.deepEqual(await scoreInParts(batch, never), []);
});
