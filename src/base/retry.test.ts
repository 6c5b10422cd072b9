import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { BaseError, type BaseErrorCode } from './errors.ts';
import { type RetryOptions, retryWhere } from './retry.ts';

/** Fails so many times, then answers with the number of the attempt; tells which pauses were made. */
async function attempt(
  failures: number,
  change: {
    readonly code?: BaseErrorCode;
    readonly error?: object;
    readonly options?: Partial<RetryOptions>;
  } = {},
) {
  const pauses: number[] = [];
  const { code = 'base.queue-full', error = {}, options = {} } = change;
  let answer: unknown;
  try {
    answer = await retryWhere(
      async (n) => {
        if (n <= failures) throw new BaseError(code, `attempt ${n}`, error);
        return n;
      },
      {
        random: () => 0.5,
        sleep: async (ms) => {
          pauses.push(ms);
        },
        ...options,
      },
    );
  } catch (thrown) {
    answer = (thrown as Error).message;
  }
  return { answer, pauses };
}

suite('calling again', () => {
  test('helps where the code says so, with pauses that double', async () => {
    assert.deepEqual(await attempt(3), { answer: 4, pauses: [50, 100, 200] });
  });

  test('ends with the last error', async () => {
    assert.deepEqual((await attempt(9)).answer, 'attempt 4');
  });

  test('is not tried where the code says that it does not help, nor after a fatal error', async () => {
    assert.deepEqual(await attempt(1, { code: 'base.seed-invalid' }), { answer: 'attempt 1', pauses: [] });
    assert.deepEqual(await attempt(1, { error: { fatal: true } }), { answer: 'attempt 1', pauses: [] });
    const plain = retryWhere(async () => {
      throw new RangeError('broken');
    });
    await assert.rejects(plain, RangeError);
  });

  test('waits as long as it is told to, and no longer than its limit by itself', async () => {
    assert.deepEqual((await attempt(1, { error: { retryAfterMs: 700 } })).pauses, [700]);
    const options = { attempts: 9, maxDelayMs: 250 };
    assert.deepEqual((await attempt(5, { options })).pauses, [50, 100, 125, 125, 125]);
  });

  test('stops when it is called off', async () => {
    const stop = new AbortController();
    const sleep = async () => stop.abort();
    const { answer } = await attempt(9, { options: { signal: stop.signal, sleep } });
    assert.equal(answer, 'attempt 1');
    const { answer: real } = await attempt(1, { options: { sleep: undefined as never, firstDelayMs: 1 } });
    assert.equal(real, 2);
  });
});
