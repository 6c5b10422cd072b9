import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { ManualClock } from '../../base/index.ts';
import type { ScoreColumns } from '../../inference/index.ts';
import type { ServedGuardian } from '../handler.ts';
import { type AskedModel, infer } from './infer.ts';
import type { InferCall } from './infer-request.ts';
import { statisticsOf } from './statistics.ts';

const MODEL = { name: 'flow', version: '1.0.0', digest: 'sha256:0' };
const NOTHING = { count: 0, rows: 0, sizes: [] };
const ASKED = { model: MODEL, loaded: {} } as unknown as AskedModel;

function newGuardian(score: (values: Float32Array) => Promise<unknown>): ServedGuardian {
  const scoreVectorColumns = (_: string, values: Float32Array) => score(values);
  return {
    clock: new ManualClock(),
    engine: { executions: () => NOTHING },
    scoreVectorColumns,
  } as unknown as ServedGuardian;
}

/** One request of two values, as it came and as it was read. */
function newRequest() {
  const values = Float32Array.of(1, 2);
  const body = Buffer.from('1 2');
  const list = [1, 2];
  const call: InferCall = { rows: 2, values, outputs: [], terms: { priority: 'live' } };
  const ask = (
    guardian: ServedGuardian,
    parts: { read?: () => InferCall; write?: (columns: ScoreColumns) => unknown; signal?: AbortSignal } = {},
  ) =>
    infer(guardian, ASKED, {
      read: parts.read ?? (() => call),
      write: parts.write ?? ((columns) => columns),
      waiting: parts.signal === undefined ? {} : { signal: parts.signal },
      received: [body, list],
    });
  const isWiped = () => [...values, ...body, ...list].every((each) => each === 0);
  return { ask, isWiped };
}

const columns = { model: MODEL, rows: 2, waitedMs: 0 } as unknown as ScoreColumns;

suite('the rows of an inference request', () => {
  test('are there until they are scored, and are wiped before the answer', async () => {
    const { ask, isWiped } = newRequest();
    const seen: number[][] = [];
    const guardian = newGuardian(async (values) => {
      seen.push([...values]);
      return columns;
    });
    await ask(guardian);
    assert.deepEqual(seen, [[1, 2]]);
    assert.ok(isWiped());
  });

  test('are wiped where scoring fails, and where the answer cannot be written', async () => {
    const failing = newRequest();
    await assert.rejects(failing.ask(newGuardian(() => Promise.reject(new Error('failed')))), /failed/);
    assert.ok(failing.isWiped());
    const unwritten = newRequest();
    const write = () => {
      throw new Error('unwritten');
    };
    const guardian = newGuardian(async () => columns);
    await assert.rejects(unwritten.ask(guardian, { write }), /unwritten/);
    assert.ok(unwritten.isWiped());
    assert.equal(statisticsOf(guardian).read('flow', '1.0.0').inference_stats.fail.count, 1);
  });

  test('are wiped where the caller went away', async () => {
    const { ask, isWiped } = newRequest();
    const gone = new AbortController();
    const guardian = newGuardian(
      () =>
        new Promise((_, reject) => gone.signal.addEventListener('abort', () => reject(new Error('gone')))),
    );
    const asked = ask(guardian, { signal: gone.signal });
    assert.ok(!isWiped());
    gone.abort();
    await assert.rejects(asked, /gone/);
    assert.ok(isWiped());
  });

  test('are wiped as they came where they cannot be read', async () => {
    const body = Buffer.from('1 2');
    const read = () => {
      throw new Error('unread');
    };
    const asked = infer(
      newGuardian(async () => columns),
      ASKED,
      {
        ...{ read, write: (given: ScoreColumns) => given, waiting: {}, received: [body] },
      },
    );
    await assert.rejects(asked, /unread/);
    assert.ok(body.every((byte) => byte === 0));
  });
});

suite('the statistics of a model', () => {
  test('tell waiting from scoring, and batches from requests', async () => {
    const clock = new ManualClock();
    const sizes = [{ rows: 4, count: 1, spentMs: 3 }];
    const guardian = {
      clock,
      engine: { executions: () => ({ count: 1, rows: 4, sizes }) },
      scoreVectorColumns: async () => {
        clock.advance(7);
        return { ...columns, waitedMs: 5 };
      },
    } as unknown as ServedGuardian;
    for (let i = 0; i < 2; i++) await newRequest().ask(guardian);
    const told = statisticsOf(guardian).read('flow', '1.0.0');
    assert.deepEqual(told.inference_stats.queue, { count: 2, ns: 10_000_000 });
    assert.deepEqual(told.inference_stats.compute_infer, { count: 2, ns: 4_000_000 });
    assert.deepEqual(told.inference_stats.success, { count: 2, ns: 14_000_000 });
    assert.deepEqual([told.inference_count, told.execution_count], [4, 1]);
    const [batch] = told.batch_stats;
    assert.deepEqual([batch?.batch_size, batch?.compute_infer], [4, { count: 1, ns: 3_000_000 }]);
  });
});
