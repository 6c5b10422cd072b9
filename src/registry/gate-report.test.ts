import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GATE_REPORT } from './gate-report.ts';

const DIGEST = `sha256:${'a'.repeat(64)}`;

/** Version 1 as reports were written before there were intervals; they stay in registries for years. */
const VERSION_1 = `{"createdAt":"2026-11-20T08:00:00.000Z","dataDigest":"${DIGEST}","gates":[{"comparison":">=","name":"accuracy","passed":true,"threshold":0.75,"value":0.98},{"comparison":"<=","name":"fpr","passed":false,"threshold":0.05,"value":0.06}],"metrics":{"rows":10},"modelDigest":"${DIGEST}","passed":false,"v":1}`;

const VERSION_2 = {
  ...JSON.parse(VERSION_1),
  v: 2,
  gates: [
    {
      name: 'champion',
      passed: true,
      value: -0.01,
      threshold: -0.02,
      comparison: '>=',
      low: -0.01,
      high: 0.03,
    },
    { name: 'label-leak', passed: false, value: 1, threshold: 0.998, comparison: '<=', detail: 'of ttl' },
  ],
  skipped: [{ name: 'robustness', reason: 'no column can be moved' }],
};

test('a report of version 1 parses to what it was', () => {
  assert.deepEqual(GATE_REPORT.parse(JSON.parse(VERSION_1)), JSON.parse(VERSION_1));
});

test('a report of version 2 has intervals, details and gates that were skipped', () => {
  assert.deepEqual(GATE_REPORT.parse(VERSION_2), VERSION_2);
});

test('fields of version 2 are refused in version 1, and a report that contradicts itself in both', () => {
  const old = JSON.parse(VERSION_1);
  const { skipped: _, ...unlisted } = VERSION_2;
  const [first, second] = VERSION_2.gates;
  for (const report of [
    { ...old, skipped: [] },
    { ...old, gates: VERSION_2.gates },
    { ...VERSION_2, v: 3 },
    unlisted,
    { ...old, passed: true },
    { ...VERSION_2, passed: true },
    { ...VERSION_2, gates: [{ ...first, value: -0.03 }, second] },
    { ...VERSION_2, gates: [{ ...first, low: Number.NaN }, second] },
    { ...VERSION_2, gates: [{ ...first, detail: 'x'.repeat(257) }, second] },
  ]) {
    assert.equal(GATE_REPORT.safeParse(report).success, false, JSON.stringify(report));
  }
});
