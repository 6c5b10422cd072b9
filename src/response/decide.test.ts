import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { Score } from '../models/index.ts';
import { type DecisionInput, decide } from './decide.ts';
import { NetworkSet } from './network-set.ts';
import { createPolicy, type Policy } from './policy.ts';
import { RAILS, type RailName } from './rails.ts';

const NOW = Date.UTC(2026, 0, 1);
const SCORE: Score = {
  probability: 0.99,
  verdict: 'attack',
  kind: 'port-scan',
  confidence: 0.99,
  model: { name: 'flow', version: '1.0.0', digest: `sha256:${'0'.repeat(64)}` },
  certificate: 'active',
  topFeatures: [{ column: 'packets', value: 1, contribution: 2 }],
};
const INPUT: DecisionInput = {
  score: SCORE,
  source: '203.0.113.9',
  sourceProven: true,
  nowMs: NOW,
  standing: { actions: 0, startedInLastMinute: 0, isTargetStanding: false },
};
/** Everything in order, and an actuator: the only case in which something is done. */
const POLICY: Policy = createPolicy({ mode: 'enforce' }, { hasActuator: true });
const entry = (network: string) => new NetworkSet([{ network, reason: 'test' }]);

suite('a decision', () => {
  test('blocks where every rail lets it pass, for a limited time, at one sensor', () => {
    const decision = decide(INPUT, POLICY);
    assert.equal(decision.verdict, 'block');
    assert.deepEqual(decision.action, {
      kind: 'block-source',
      target: '203.0.113.9',
      ttlMs: 3_600_000,
      scope: 'this-host',
    });
    assert.deepEqual(decision.vetoes, []);
    assert.deepEqual(decision.topFeatures, SCORE.topFeatures);
  });

  // One field changed a row: the rail that has to hold, and what becomes of the decision.
  const rows: readonly (readonly [string, RailName, string, Partial<DecisionInput>, Partial<Policy>])[] = [
    ['observe mode', 'observe-mode', 'would-block', {}, { mode: 'observe' }],
    ['no certificate', 'certificate', 'would-block', { score: { ...SCORE, certificate: 'absent' } }, {}],
    [
      'a suspended certificate',
      'certificate',
      'would-block',
      { score: { ...SCORE, certificate: 'suspended' } },
      {},
    ],
    [
      'a refused certificate',
      'certificate',
      'would-block',
      { score: { ...SCORE, certificate: 'refused' } },
      {},
    ],
    ['a protected address', 'protected-set', 'vetoed', {}, { protectedSet: entry('203.0.113.9') }],
    ['a protected network', 'protected-set', 'vetoed', {}, { protectedSet: entry('203.0.113.0/24') }],
    ['an allowed address', 'allow-list', 'vetoed', {}, { allowList: entry('203.0.113.9') }],
    ['an allowed network', 'allow-list', 'vetoed', {}, { allowList: entry('203.0.0.0/16') }],
    ['an unproven source', 'no-proof-of-source', 'vetoed', { sourceProven: false }, {}],
    [
      'a full budget of standing actions',
      'budget',
      'vetoed',
      { standing: { actions: 1_000, startedInLastMinute: 0, isTargetStanding: false } },
      {},
    ],
    [
      'a full budget of the minute',
      'budget',
      'vetoed',
      { standing: { actions: 10, startedInLastMinute: 10, isTargetStanding: false } },
      {},
    ],
    ['an action that stands too long', 'expiry', 'vetoed', { ttlMs: 4 * 3_600_000 + 1 }, {}],
    ['an action that never ends', 'expiry', 'vetoed', { ttlMs: Number.POSITIVE_INFINITY }, {}],
    ['an action without a time', 'expiry', 'vetoed', { ttlMs: 0 }, {}],
    ['an action of no known time', 'expiry', 'vetoed', { ttlMs: Number.NaN }, {}],
  ];
  for (const [name, rail, verdict, input, policy] of rows) {
    test(`is held back by ${name}`, () => {
      const decision = decide({ ...INPUT, ...input }, { ...POLICY, ...policy });
      assert.equal(decision.verdict, verdict);
      assert.equal(decision.vetoedBy, rail);
      assert.deepEqual(
        decision.vetoes.map((veto) => veto.rail),
        [rail],
      );
      assert.equal(decision.action?.target, '203.0.113.9', 'says what would have been done');
      assert.notEqual(decision.reason, '');
    });
  }

  test('names every rail that held it back, in their fixed order, and is decided by the first about the target', () => {
    const decision = decide(
      {
        ...INPUT,
        score: { ...SCORE, certificate: 'suspended' },
        sourceProven: false,
        ttlMs: Number.NaN,
        standing: { actions: 5_000, startedInLastMinute: 0, isTargetStanding: false },
      },
      { ...POLICY, mode: 'observe', protectedSet: entry('203.0.113.9'), allowList: entry('203.0.113.9') },
    );
    assert.deepEqual(
      decision.vetoes.map(({ rail }) => rail),
      RAILS.map(({ name }) => name),
    );
    assert.equal(decision.vetoedBy, 'protected-set');
  });

  test('allows what is benign and observes what the model abstains on', () => {
    assert.equal(decide({ ...INPUT, score: { ...SCORE, verdict: 'benign' } }, POLICY).verdict, 'allow');
    const abstained = decide({ ...INPUT, score: { ...SCORE, verdict: 'abstain', reason: 'unsure' } }, POLICY);
    assert.equal(abstained.verdict, 'observe');
    assert.match(abstained.reason, /unsure/);
    assert.equal(abstained.action, undefined);
  });

  test('does not cut off the own host that an outbound attack comes from', () => {
    for (const kind of ['beaconing', 'exfiltration', 'dns-tunnel']) {
      const decision = decide({ ...INPUT, score: { ...SCORE, kind } }, POLICY);
      assert.equal(decision.verdict, 'observe');
      assert.equal(decision.action, undefined);
    }
  });

  test('costs no budget where the target stands already', () => {
    const standing = { actions: 1_000, startedInLastMinute: 10, isTargetStanding: true };
    assert.equal(decide({ ...INPUT, standing }, POLICY).verdict, 'block');
  });

  test('is not held back by an allow-list entry that has expired', () => {
    const expired = (expiresMs: number) =>
      new NetworkSet([{ network: '203.0.113.9', reason: 'a visitor', expiresMs }]);
    assert.equal(decide(INPUT, { ...POLICY, allowList: expired(NOW) }).verdict, 'block');
    assert.equal(decide(INPUT, { ...POLICY, allowList: expired(NOW + 1) }).verdict, 'vetoed');
  });
});
