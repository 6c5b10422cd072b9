import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { makeJudged, TRAFFIC_START } from '../../test/support/judged.ts';
import { ManualClock } from '../base/index.ts';
import { readAlertsConfig } from './config.ts';
import { COUNTED_DISTINCT } from './detection.ts';
import type { JudgedRecord } from './finding.ts';
import { Findings } from './findings.ts';

const WINDOW = 600_000;

function findingsOf(config: Parameters<typeof readAlertsConfig>[0] = {}): Findings {
  let n = 0;
  return new Findings({
    config: readAlertsConfig(config),
    clock: new ManualClock(0),
    newUid: () => `uid-${++n}`,
  });
}

/** Flows of one kind, one a second. */
function flows(
  count: number,
  kind = 'port-scan',
  change: Parameters<typeof makeJudged>[0] = {},
): JudgedRecord[] {
  return Array.from({ length: count }, (_, i) =>
    makeJudged({ destinationPort: i, startMs: TRAFFIC_START + 1_000 * i, ...change }, { kind }),
  );
}

suite('a finding', () => {
  test('gathers the flows of one source and kind, with counts of both sides', () => {
    const [state, ...others] = findingsOf().add(flows(20));
    assert.deepEqual(others, []);
    assert.equal(state?.activity, 'create');
    assert.equal(state?.flows, 20);
    assert.equal(state?.packets, 60);
    assert.equal(state?.bytes, 2_800);
    assert.deepEqual(state?.source.addresses, ['10.0.0.5']);
    assert.equal(state?.destination.portCount, 20);
    assert.deepEqual(state?.destination.ports, [0, 1, 2, 3, 4, 5, 6, 7]);
    assert.equal(state?.firstSeenMs, TRAFFIC_START);
    assert.equal(state?.lastSeenMs, TRAFFIC_START + 19_500);
    assert.equal(state?.technique?.id, 'T1046');
    assert.equal(state?.evidence.flows.length, 5);
    assert.equal(state?.decision.verdict, 'vetoed');
    assert.equal(state?.decision.vetoedBy, 'no-proof-of-source');
    assert.ok(Object.isFrozen(state));
  });

  test('keeps sources and kinds apart', () => {
    const records = [
      ...flows(3),
      ...flows(3, 'port-scan', { sourceAddress: '10.0.0.6' }),
      ...flows(3, 'password-guessing'),
    ];
    assert.deepEqual(
      findingsOf()
        .add(records)
        .map(({ kind, source }) => `${kind} ${source.address}`),
      ['port-scan 10.0.0.5', 'port-scan 10.0.0.6', 'password-guessing 10.0.0.5'],
    );
  });

  test('of a SYN flood is one for its victim, whatever sources are forged', () => {
    const records = Array.from({ length: 300 }, (_, i) =>
      makeJudged({ sourceAddress: `198.51.${i >> 8}.${i & 255}`, state: 'S0' }, { kind: 'syn-flood' }),
    );
    const [state, ...others] = findingsOf().add(records);
    assert.deepEqual(others, []);
    assert.equal(state?.groupedBy, 'destination');
    assert.equal(state?.source.addressCount, 300);
    assert.deepEqual(state?.destination.addresses, ['10.0.0.9']);
  });

  test('needs as many flows as its kind is plural', () => {
    const least = {
      'port-scan': 3,
      'host-sweep': 3,
      'slow-scan': 3,
      'syn-flood': 3,
      'slow-http': 3,
      'password-guessing': 3,
      beaconing: 3,
      'dns-tunnel': 1,
      exfiltration: 1,
    };
    for (const [kind, count] of Object.entries(least)) {
      assert.equal(findingsOf().add(flows(count - 1, kind)).length, 0, kind);
      assert.equal(findingsOf().add(flows(count, kind)).length, 1, kind);
    }
    assert.equal(findingsOf({ minFlows: { 'port-scan': 1 } }).add(flows(1)).length, 1);
  });

  test('leaves no trace where the evidence never sufficed', () => {
    const findings = findingsOf();
    findings.add(flows(2));
    assert.equal(findings.size, 1);
    assert.deepEqual(findings.advance(TRAFFIC_START + 2 * WINDOW), []);
    assert.equal(findings.size, 0);
  });

  test('passes over what is not an attack', () => {
    const findings = findingsOf();
    findings.add([makeJudged({}, { verdict: 'benign' }), makeJudged({}, { verdict: 'abstain' })]);
    assert.equal(findings.size, 0);
  });

  test('without a kind claims no technique', () => {
    const [state] = findingsOf().add([makeJudged({}, { kind: undefined })]);
    assert.equal(state?.kind, 'unnamed');
    assert.equal(state?.title, 'Suspicious traffic');
    assert.equal(state?.technique, undefined);
  });

  test('of a kind named like a property of objects is an unknown kind', () => {
    const [state] = findingsOf().add([makeJudged({}, { kind: 'constructor' })]);
    assert.equal(state?.title, 'Suspicious traffic');
  });

  test('is updated each time it has doubled, and closed after a still window', () => {
    const findings = findingsOf();
    const states = flows(50).flatMap((record) => findings.add([record]));
    assert.deepEqual(
      states.map(({ activity, flows: n, revision }) => [activity, n, revision]),
      [
        ['create', 3, 1],
        ['update', 6, 2],
        ['update', 12, 3],
        ['update', 24, 4],
        ['update', 48, 5],
      ],
    );
    assert.deepEqual(findings.advance(TRAFFIC_START + WINDOW), []);
    const [closed] = findings.advance(TRAFFIC_START + 49_500 + WINDOW);
    assert.deepEqual([closed?.activity, closed?.flows, closed?.uid], ['close', 50, 'uid-1']);
    assert.equal(findings.size, 0);
  });

  test('is a new one after its window', () => {
    const findings = findingsOf();
    findings.add(flows(3));
    const later = flows(3).map((record) => ({
      ...record,
      flow: { ...record.flow, startMs: TRAFFIC_START + 2 * WINDOW, endMs: TRAFFIC_START + 2 * WINDOW },
    }));
    assert.deepEqual(
      findings.add(later).map(({ activity, uid }) => [activity, uid]),
      [
        ['create', 'uid-2'],
        ['close', 'uid-1'],
      ],
    );
  });

  test('raised and ended within one call is told whole', () => {
    const findings = findingsOf();
    const far = makeJudged({ startMs: TRAFFIC_START + 3 * WINDOW }, { kind: 'exfiltration' });
    assert.deepEqual(
      findings.add([...flows(3), far]).map(({ activity, uid }) => [activity, uid]),
      [
        ['create', 'uid-2'],
        ['create', 'uid-1'],
        ['close', 'uid-1'],
      ],
    );
  });

  test('is told again when a decision goes further', () => {
    const findings = findingsOf();
    findings.add(flows(3));
    const proven = makeJudged({
      sourceAddress: '203.0.113.9',
      state: 'SF',
      forward: { packets: 5, bytes: 500, payloadBytes: 100, tcpFlags: 0x1a },
      backward: { packets: 5, bytes: 500, payloadBytes: 100, tcpFlags: 0x1a },
    });
    const [state] = findings.add([{ ...proven, flow: { ...proven.flow, sourceAddress: '10.0.0.5' } }]);
    assert.equal(state?.decision.verdict, 'would-block');
    assert.equal(state?.decision.vetoedBy, 'observe-mode');
  });

  test('stays small whatever an attacker sends', () => {
    const records = Array.from({ length: 3_000 }, (_, i) =>
      makeJudged({
        destinationAddress: `10.${i >> 8}.${i & 255}.1`,
        destinationPort: i,
        endMs: TRAFFIC_START + 1,
      }),
    );
    const [state] = findingsOf().add(records);
    assert.equal(state?.flows, 3_000);
    assert.equal(state?.destination.addressCount, COUNTED_DISTINCT);
    assert.ok(JSON.stringify(state).length < 5_000);
  });

  test('of the oldest closes early when there are too many, counted', () => {
    const findings = findingsOf({ maxOpenFindings: 2 });
    const records = ['10.0.0.1', '10.0.0.2', '10.0.0.1', '10.0.0.3'].map((sourceAddress) =>
      makeJudged({ sourceAddress }, { kind: 'exfiltration' }),
    );
    const states = findings.add(records);
    assert.deepEqual(
      states.filter(({ activity }) => activity === 'close').map(({ source }) => source.address),
      ['10.0.0.2'],
    );
    assert.equal(findings.size, 2);
    assert.equal(findings.closedEarly, 1);
  });

  test('ends with the traffic', () => {
    const findings = findingsOf();
    findings.add([...flows(3), ...flows(1, 'slow-scan')]);
    assert.deepEqual(
      findings.finish().map(({ activity, kind }) => [activity, kind]),
      [['close', 'port-scan']],
    );
  });
});

suite('technique and severity', () => {
  const rows: readonly (readonly [string, string, string | undefined, string])[] = [
    ['port-scan', '10.0.0.5', 'T1046', 'medium'],
    ['port-scan', '203.0.113.9', 'T1595.001', 'low'],
    ['host-sweep', 'fd00::1', 'T1046', 'medium'],
    ['icmp-sweep', '203.0.113.9', 'T1595.001', 'low'],
    ['slow-scan', '2001:db8::1', 'T1595.001', 'low'],
    ['syn-flood', '203.0.113.9', 'T1498.001', 'high'],
    ['slow-http', '203.0.113.9', 'T1499.002', 'high'],
    ['password-guessing', '203.0.113.9', 'T1110.001', 'medium'],
    ['password-guessing', '192.168.1.5', 'T1110.001', 'high'],
    ['dns-tunnel', '10.0.0.5', 'T1071.004', 'high'],
    ['beaconing', '10.0.0.5', 'T1071', 'high'],
    ['exfiltration', '10.0.0.5', 'T1048', 'critical'],
    ['something-new', '10.0.0.5', undefined, 'medium'],
  ];
  for (const [kind, source, technique, severity] of rows) {
    test(`of ${kind} from ${source} are ${technique ?? 'none'} and ${severity}`, () => {
      const [state] = findingsOf().add(flows(3, kind, { sourceAddress: source }));
      assert.equal(state?.technique?.id, technique);
      assert.equal(state?.severity, severity);
    });
  }

  test('follow the networks configured as our own', () => {
    const findings = findingsOf({ ownNetworks: ['203.0.113.0/24'] });
    const states = findings.add([
      ...flows(3, 'port-scan', { sourceAddress: '203.0.113.9' }),
      ...flows(3, 'port-scan', { sourceAddress: '10.0.0.5' }),
    ]);
    assert.deepEqual(
      states.map(({ technique, severity }) => [technique?.id, severity]),
      [
        ['T1046', 'medium'],
        ['T1595.001', 'low'],
      ],
    );
  });

  test('weigh a step less where the model is not sure', () => {
    const [state] = findingsOf().add([makeJudged({}, { kind: 'exfiltration', confidence: 0.6 })]);
    assert.equal(state?.severity, 'high');
  });
});

suite('the configuration of alerts', () => {
  for (const config of [
    { windowMs: 1 },
    { maxOpenFindings: 0 },
    { minFlows: { 'port-scan': 0 } },
    { window: 1 },
  ]) {
    test(`refuses ${JSON.stringify(config)}`, () => {
      assert.throws(() => readAlertsConfig(config as Parameters<typeof readAlertsConfig>[0]), {
        code: 'alerts.config-invalid',
      });
    });
  }
});
