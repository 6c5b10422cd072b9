import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { openServedHouse } from '../../test/support/served-guardian.ts';
import type { AuditEntry } from '../audit/index.ts';
import { silentLogger } from '../base/index.ts';
import type { BreakerCause, BreakerState, ModelHealthChange } from '../inference/index.ts';
import { ModelNotes } from './model-notes.ts';

const COUNTS = {
  calls: 10,
  failed: { 'model-error': 10, timeout: 0, 'corrupt-output': 0, 'worker-crash': 0 },
};

function change(from: BreakerState, to: BreakerState, cause?: BreakerCause): ModelHealthChange {
  const model = { name: 'flow', version: '1.1.0', digest: `sha256:${'a'.repeat(64)}` } as const;
  return { model, from, to, ...(cause !== undefined && { cause }), counts: COUNTS };
}

suite('what the log holds of models in service', () => {
  test('is each withdrawal and return once, however often a probe fails', async () => {
    const house = await openServedHouse({ withModel: false });
    const { log } = house.guardian;
    const notes = new ModelNotes(log, silentLogger);
    notes.health(change('closed', 'open', 'timeout'));
    for (let i = 0; i < 5; i++) {
      notes.health(change('open', 'half-open', 'timeout'));
      notes.health(change('half-open', 'open', 'timeout'));
    }
    notes.health(change('half-open', 'closed'));
    notes.health(change('closed', 'withdrawn', 'corrupt-output'));
    notes.loaded('flow', '1.1.0');
    notes.health(change('closed', 'open', 'worker-crash'));
    await notes.settled();
    const found: AuditEntry[] = [];
    for await (const { entry } of log.entries()) found.push(entry);
    assert.deepEqual(
      found
        .filter(({ action }) => action === 'model.withdraw' || action === 'model.restore')
        .map(({ action, subject, detail }) => [action, subject, detail?.cause, detail?.to]),
      [
        ['model.withdraw', 'flow@1.1.0', 'timeout', 'open'],
        ['model.restore', 'flow@1.1.0', null, 'closed'],
        ['model.withdraw', 'flow@1.1.0', 'corrupt-output', 'withdrawn'],
        ['model.withdraw', 'flow@1.1.0', 'worker-crash', 'open'],
      ],
    );
    await house.close();
  });
});
