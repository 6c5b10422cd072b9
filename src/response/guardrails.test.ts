import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { Score } from '../models/index.ts';
import type { FlowRecord } from '../traffic/index.ts';
import { ResponseError } from './errors.ts';
import { Guardrails } from './guardrails.ts';
import { readMachineAddresses } from './machine-addresses.ts';
import { createPolicy } from './policy.ts';
import { isSourceProven } from './source-proof.ts';

const NOW = Date.UTC(2026, 0, 1);
const score: Score = {
  probability: 0.99,
  verdict: 'attack',
  kind: 'port-scan',
  confidence: 0.99,
  model: { name: 'flow', version: '1.0.0', digest: `sha256:${'0'.repeat(64)}` },
  certificate: 'absent',
};
const flow = (n: number, nowMs = NOW) => ({ score, source: `203.0.113.${n}`, sourceProven: true, nowMs });

suite('a policy', () => {
  test('observes by default', () => assert.equal(createPolicy().mode, 'observe'));

  test('refuses to enforce without an actuator', () => {
    assert.throws(
      () => createPolicy({ mode: 'enforce' }),
      (error) => error instanceof ResponseError && error.code === 'response.no-actuator' && !error.retry,
    );
  });

  const refused = [{ mod: 'observe' }, { actionsPerMinute: -1 }, { scope: '../x' }, { actionTtlMs: 0 }];
  for (const config of refused) {
    test(`refuses ${JSON.stringify(config)}`, () => {
      assert.throws(() => createPolicy(config as Parameters<typeof createPolicy>[0]), {
        code: 'response.policy-invalid',
      });
    });
  }
});

suite('guard rails with memory', () => {
  test('spend the budget of a minute and earn it back', () => {
    const rails = new Guardrails(createPolicy({ actionsPerMinute: 2 }));
    const verdicts = [1, 2, 3].map((n) => rails.judge(flow(n)).verdict);
    assert.deepEqual(verdicts, ['would-block', 'would-block', 'vetoed']);
    assert.equal(rails.judge(flow(1)).verdict, 'would-block', 'a target that stands costs nothing');
    assert.equal(rails.judge(flow(3, NOW + 60_000)).verdict, 'would-block');
  });

  test('keep no more standing than allowed, and let each expire', () => {
    const rails = new Guardrails(createPolicy({ maxStandingActions: 1, actionTtlMs: 120_000 }));
    assert.equal(rails.judge(flow(1)).verdict, 'would-block');
    assert.equal(rails.judge(flow(2)).vetoedBy, 'budget');
    assert.deepEqual(rails.standing(NOW), [{ target: '203.0.113.1', expiresMs: NOW + 120_000 }]);
    assert.equal(rails.judge(flow(2, NOW + 120_000)).verdict, 'would-block');
    assert.deepEqual(rails.standing(NOW + 240_000), []);
  });

  test('count verdicts and vetoes', () => {
    const rails = new Guardrails(createPolicy({ allowList: ['203.0.113.1'] }));
    rails.judge(flow(1));
    rails.judge(flow(2));
    rails.judge({ ...flow(3), score: { ...score, verdict: 'benign' } });
    const { verdicts, vetoes } = rails.counters;
    assert.deepEqual(verdicts, { allow: 1, observe: 0, 'would-block': 1, vetoed: 1, block: 0 });
    assert.deepEqual(vetoes, { 'observe-mode': 2, certificate: 2, 'allow-list': 1 });
  });
});

suite('the proof of a source', () => {
  const side = { packets: 5, bytes: 500, payloadBytes: 100, tcpFlags: 0x1a };
  const proven: FlowRecord = {
    sourceKind: 'packets',
    protocol: 6,
    sourceAddress: '203.0.113.9',
    destinationAddress: '192.0.2.10',
    sourcePort: 40_000,
    destinationPort: 22,
    startMs: NOW,
    endMs: NOW + 10,
    forward: side,
    backward: { ...side, tcpFlags: 0x12 },
    state: 'SF',
    endReason: 'tcp-end',
  };
  const rows: readonly (readonly [string, boolean, Partial<FlowRecord>])[] = [
    ['a completed connection', true, {}],
    ['one still open', true, { state: 'S1' }],
    ['one reset after data went both ways', true, { state: 'RSTO' }],
    [
      'a source that reports no flags',
      true,
      { forward: { ...side, tcpFlags: Number.NaN }, backward: { ...side, tcpFlags: Number.NaN } },
    ],
    [
      'a bare SYN',
      false,
      { state: 'S0', forward: { ...side, tcpFlags: 2 }, backward: { ...side, tcpFlags: 0 } },
    ],
    ['a refused connection', false, { state: 'REJ' }],
    ['UDP that went both ways', false, { protocol: 17 }],
    ['ICMP', false, { protocol: 1 }],
    [
      'a forged host that answers the SYN-ACK with RST',
      false,
      { state: 'RSTO', forward: { ...side, payloadBytes: 0, tcpFlags: 0x06 } },
    ],
    [
      'a forger who guesses the last ACK',
      false,
      { state: 'RSTR', backward: { ...side, payloadBytes: 0, tcpFlags: 0x16 } },
    ],
    ['an answer without SYN-ACK', false, { backward: { ...side, tcpFlags: 0x10 } }],
    ['half a connection', false, { state: 'SH' }],
    ['one whose SYN-ACK number came back, as our meter saw', true, { handshakeSeen: true, state: 'RSTO' }],
    ['one whose SYN-ACK number never came back', false, { handshakeSeen: false, state: 'S1' }],
    ['the middle of a connection', false, { state: 'OTH' }],
  ];
  for (const [name, expected, change] of rows) {
    test(`${expected ? 'is' : 'is not'} ${name}`, () => {
      assert.equal(isSourceProven({ ...proven, ...change }), expected);
    });
  }
});

suite('the addresses of the machine', () => {
  test('are found on this one, whatever it is', () => {
    assert.ok(
      readMachineAddresses()
        .list()
        .every(({ reason }) => reason !== ''),
    );
  });

  test('leave out what is not there', () => {
    assert.equal(readMachineAddresses({ root: '/nonexistent', own: [], environment: {} }).size, 0);
  });
});
