import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { BREAKER_CAUSES, type BreakerCause, type BreakerChange, CircuitBreaker } from './circuit-breaker.ts';
import { BREAKER_DEFAULTS } from './config.ts';

function breakerAt(change: Partial<typeof BREAKER_DEFAULTS> = {}, random = () => 0.5) {
  const changes: BreakerChange[] = [];
  const config = { ...BREAKER_DEFAULTS, ...change };
  const breaker = new CircuitBreaker({ config, random, onChange: (each) => changes.push(each) });
  const call = (now: number, cause?: BreakerCause): boolean => {
    const ticket = breaker.admit(now);
    if (ticket === 0) return false;
    if (cause === undefined) breaker.succeed(ticket, now);
    else breaker.fail(ticket, cause, now);
    return true;
  };
  return { breaker, changes, call };
}

suite('a circuit breaker', () => {
  test('stays closed below the minimum volume, whatever fails', () => {
    const { breaker, call } = breakerAt();
    for (let i = 0; i < 9; i++) call(0, 'model-error');
    assert.equal(breaker.state, 'closed');
    call(0, 'model-error');
    assert.equal(breaker.state, 'open');
  });

  test('forgets what is older than ten seconds', () => {
    const { breaker, call } = breakerAt({ timeoutCalls: 100 });
    for (let i = 0; i < 9; i++) call(500, 'timeout');
    call(10_499, 'timeout');
    assert.equal(breaker.state, 'closed');
    assert.deepEqual(breaker.counts(10_499).failed.timeout, 1);
    assert.equal(breaker.counts(40_000).calls, 0);
  });

  test('opens by the share of failures and names the cause of most of them', () => {
    const { breaker, changes, call } = breakerAt({ timeoutCalls: 100 });
    for (let i = 0; i < 8; i++) call(i);
    for (let i = 0; i < 3; i++) call(10, 'worker-crash');
    for (let i = 0; i < 5; i++) call(20, 'timeout');
    assert.equal(breaker.state, 'open');
    assert.deepEqual(changes, [
      {
        from: 'closed',
        to: 'open',
        cause: 'timeout',
        counts: {
          calls: 16,
          failed: { 'model-error': 0, timeout: 5, 'corrupt-output': 0, 'worker-crash': 3 },
        },
      },
    ]);
  });

  test('lets one probe through after the pause, and closes when it succeeds', () => {
    const { breaker, call } = breakerAt();
    for (let i = 0; i < 10; i++) call(0, 'timeout');
    assert.equal(call(4_999), false);
    assert.equal(breaker.retryAfterMs(4_000), 1_000);
    const probe = breaker.admit(5_000);
    assert.notEqual(probe, 0);
    assert.equal(breaker.state, 'half-open');
    assert.equal(breaker.admit(5_001), 0);
    breaker.succeed(probe, 5_002);
    assert.equal(breaker.state, 'closed');
    assert.equal(breaker.cause, undefined);
    assert.equal(breaker.counts(5_002).calls, 0);
  });

  test('opens after a few calls in a row that took all their time, which ten seconds hold too few of', () => {
    const { breaker, changes, call } = breakerAt();
    for (const [i, cause] of ['timeout', 'timeout', undefined, 'timeout', 'timeout'].entries()) {
      call(i * 30_000, cause as BreakerCause | undefined);
    }
    assert.equal(breaker.state, 'closed');
    call(200_000, 'timeout');
    assert.equal(changes[0]?.cause, 'timeout');
  });

  test('waits twice as long after each probe that fails, up to its limit', () => {
    const { breaker, call } = breakerAt({ maxOpenMs: 15_000 });
    for (let i = 0; i < 10; i++) call(0, 'timeout');
    let now = 0;
    for (const pause of [5_000, 10_000, 15_000, 15_000]) {
      assert.equal(breaker.retryAfterMs(now), pause);
      now += pause;
      assert.equal(call(now, 'timeout'), true);
    }
  });

  test('spreads the pause by its jitter', () => {
    for (const [random, pause] of [
      [0, 4_000],
      [0.999_999_999, 6_000],
    ] as const) {
      const { breaker, call } = breakerAt({}, () => random);
      for (let i = 0; i < 10; i++) call(0, 'model-error');
      assert.equal(Math.round(breaker.retryAfterMs(0) ?? 0), pause);
    }
  });

  test('lets another probe through where the first never came back, or its caller left', () => {
    const lost = breakerAt();
    for (let i = 0; i < 10; i++) lost.call(0, 'timeout');
    assert.notEqual(lost.breaker.admit(5_000), 0);
    assert.equal(lost.breaker.admit(9_999), 0);
    assert.notEqual(lost.breaker.admit(10_000), 0);
    const released = breakerAt();
    for (let i = 0; i < 10; i++) released.call(0, 'timeout');
    released.breaker.release(released.breaker.admit(5_000));
    assert.notEqual(released.breaker.admit(5_000), 0);
  });

  test('withdraws a model whose outputs are corrupt, and nothing but a new breaker brings it back', () => {
    const { breaker, changes, call } = breakerAt();
    call(0);
    for (let i = 0; i < 3; i++) call(1, 'corrupt-output');
    assert.equal(breaker.state, 'withdrawn');
    assert.equal(changes.at(-1)?.cause, 'corrupt-output');
    assert.equal(breaker.retryAfterMs(1), undefined);
    assert.equal(call(1e9), false);
  });

  test('does not withdraw a model for a few bad rows among many good ones', () => {
    const { breaker, call } = breakerAt();
    for (let i = 0; i < 100; i++) call(i, i % 10 === 0 ? 'corrupt-output' : undefined);
    assert.equal(breaker.state, 'closed');
  });

  test('does not believe an answer that was asked for before it opened', () => {
    const { breaker, call } = breakerAt();
    const early = breaker.admit(0);
    for (let i = 0; i < 10; i++) call(0, 'timeout');
    const probe = breaker.admit(5_000);
    breaker.succeed(early, 5_001);
    assert.equal(breaker.state, 'half-open');
    breaker.fail(early, 'corrupt-output', 5_001);
    assert.equal(breaker.state, 'half-open');
    breaker.fail(probe, 'timeout', 5_002);
    assert.equal(breaker.state, 'open');
  });

  test('counts as a plain list of the last ten seconds does', () => {
    const event = fc.record({ wait: fc.nat(3_000), cause: fc.option(fc.constantFrom(...BREAKER_CAUSES)) });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 60 }), (events) => {
        const { breaker, call } = breakerAt({
          minimumCalls: 10_000,
          corruptCalls: 10_000,
          timeoutCalls: 10_000,
        });
        const list: { second: number; cause: BreakerCause | null }[] = [];
        let now = 0;
        for (const { wait, cause } of events) {
          now += wait;
          call(now, cause ?? undefined);
          const second = Math.floor(now / 1_000);
          list.push({ second, cause });
          const recent = list.filter((each) => each.second > second - 10);
          const counts = breaker.counts(now);
          assert.equal(counts.calls, recent.length);
          for (const each of BREAKER_CAUSES) {
            assert.equal(counts.failed[each], recent.filter((one) => one.cause === each).length);
          }
        }
      }),
      { seed: 20261123, numRuns: 200 },
    );
  });
});
