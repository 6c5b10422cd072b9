import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ManualClock, Metrics } from '../base/index.ts';
import { Monitor, readMonitorConfig } from '../monitor/index.ts';
import { type Condition, observeCondition } from './condition-metrics.ts';

const verdicts = { allow: 0, observe: 0, 'would-block': 0, vetoed: 3, block: 0 };
const interval = { value: 0.8, low: 0.44, high: 0.97 };

/** A guardian whose limit of free disk is given: readings under it are a violation. */
function condition(diskFreeBytes: number): { readonly parts: Condition; readonly monitor: Monitor } {
  const step = { slowTraining: diskFreeBytes, slowBatch: 0, shed: 0 };
  const never = { slowTraining: 9, slowBatch: 9, shed: 9 };
  const config = readMonitorConfig({ diskFreeBytes: step, machineCpuShare: never, riseAfterReadings: 1 });
  const monitor = new Monitor({ config, clock: new ManualClock(), diskPath: '/' });
  const judged = { model: 'flow@1.0.0', judged: 10, true: 8, benignTrigger: 1, false: 1 };
  const parts = {
    monitor,
    guardrails: { counters: { verdicts, vetoes: { 'protected-set': 3 } } },
    detections: {
      stats: {
        stored: { create: 0, update: 0, close: 0 },
        suppressed: 0,
        dropped: 0,
        openFindings: 2,
        closedEarly: 0,
        unsaved: 0,
      },
    },
    log: { size: 7 },
    publisher: { stats: { published: 0, failures: 0, witnessedSize: 5 } },
    triage: { accuracy: async () => [{ ...judged, precision: interval, sightPrecision: interval }] },
  };
  return { parts, monitor };
}

describe('the metrics of how a guardian fares', () => {
  test('count a limit once when it raises the level, and not while it stands', async () => {
    const metrics = new Metrics();
    const { parts, monitor } = condition(Number.MAX_SAFE_INTEGER);
    observeCondition(metrics, parts);
    for (let i = 0; i < 3; i++) monitor.tick();
    const text = await metrics.text();
    monitor.stop();
    assert.match(text, /^guardian_limit_violations_total\{measure="diskFreeBytes"\} 1$/m);
    assert.match(text, /^guardian_throttle_level 1$/m);
    assert.match(text, /^guardian_disk_free_bytes \d+/m);
  });

  test('tell what rails held back, and what analysts found with its interval', async () => {
    const metrics = new Metrics();
    const { parts, monitor } = condition(0);
    observeCondition(metrics, parts);
    const text = await metrics.text();
    monitor.stop();
    assert.match(text, /^guardian_rail_vetoes_total\{rail="protected-set"\} 3$/m);
    assert.match(text, /^guardian_judged_precision\{model="flow@1.0.0",bound="low"\} 0.44$/m);
    assert.match(text, /^guardian_throttle_level 0$/m);
    assert.match(text, /^guardian_audit_witnessed_size 5$/m);
    assert.match(text, /^guardian_open_findings 2$/m);
    assert.match(text, /^guardian_cpu_share Nan$/m);
  });
});
