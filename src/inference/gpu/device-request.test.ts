import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { randomModel, randomRows } from '../../../test/support/random-model.ts';
import { ManualClock, SeededRandom } from '../../base/index.ts';
import type { SlicedWork } from '../batching/sliced-request.ts';
import { InferenceError } from '../errors.ts';
import { newColumnArrays } from '../score-columns.ts';
import { ServedModel } from '../served-model.ts';
import { scoreOnDevice } from './device-request.ts';
import type { DeviceScorer } from './gpu-scoring.ts';

const ROWS = 20_000;
const clock = new ManualClock();
const model = randomModel(new SeededRandom(1));
const { schemaId, sourceKinds } = model;
const served = new ServedModel(
  { name: 'm', version: '1.0.0', digest: schemaId, schemaId, sourceKinds, model },
  1_024,
);

function work(values: Float32Array, signal?: AbortSignal): SlicedWork {
  return {
    ...{
      served,
      out: newColumnArrays(ROWS),
      deadline: clock.monotonic() + 1e6,
      priority: 'live',
      confidenceThreshold: 0.5,
    },
    batch: { schemaId, sourceKind: 'packets', rows: ROWS, columns: 3, values, rejected: [] },
    signal,
  };
}

/** Stands for the device: what the model gives, or what the test says. */
function scorer(score?: DeviceScorer['score']): Pick<DeviceScorer, 'score'> {
  return {
    score:
      score ??
      (async (values, rows, out) => {
        model.score(values, rows, out);
        return true;
      }),
  };
}

suite('a request on a device', () => {
  const values = randomRows(new SeededRandom(2), ROWS);

  test('is decided as on the CPU, every row of it', async () => {
    const asked = work(values);
    const outcome = await scoreOnDevice(asked, scorer(), clock);
    assert.deepEqual({ state: outcome?.state, scored: outcome?.scored }, { state: 'done', scored: ROWS });
    const expected = newColumnArrays(ROWS);
    served.score(asked.batch, 0, ROWS, 0.5, expected);
    assert.deepEqual(asked.out, expected);
  });

  test('is left to the CPU where the device failed', async () => {
    assert.equal(
      await scoreOnDevice(
        work(values),
        scorer(async () => false),
        clock,
      ),
      undefined,
    );
  });

  test('ends when its caller goes away, and tells the device', async () => {
    const caller = new AbortController();
    let seen: AbortSignal | undefined;
    const running = scoreOnDevice(
      work(values, caller.signal),
      scorer((_values, _rows, _out, signal) => {
        seen = signal;
        return new Promise(() => {});
      }),
      clock,
    );
    caller.abort();
    const outcome = await running;
    assert.deepEqual({ state: outcome?.state, scored: outcome?.scored }, { state: 'withdrawn', scored: 0 });
    assert.equal(seen?.aborted, true);
  });

  test('is late when its deadline passes', async () => {
    const asked = { ...work(values), deadline: clock.monotonic() - 1 };
    const outcome = await scoreOnDevice(
      asked,
      scorer(() => new Promise(() => {})),
      clock,
    );
    assert.equal(outcome?.state, 'late');
  });

  test('fails with what the model fails with, and is withdrawn where the device says so', async () => {
    const failing = scorer(async (_values, rows, out) => {
      out.probability.fill(Number.NaN, 0, rows);
      return true;
    });
    const failed = await scoreOnDevice(work(values), failing, clock);
    assert.equal(failed?.state, 'failed');
    assert.ok(failed?.error instanceof InferenceError);
    const cancelled = scorer(async () => {
      throw new InferenceError('inference.cancelled', 'the batch was withdrawn');
    });
    assert.equal((await scoreOnDevice(work(values), cancelled, clock))?.state, 'withdrawn');
  });
});
