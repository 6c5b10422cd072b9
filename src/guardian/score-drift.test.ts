import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeScore } from '../../test/support/judged.ts';
import { openServedHouse } from '../../test/support/served-guardian.ts';
import { Metrics, silentLogger } from '../base/index.ts';
import { ScoreDrift } from './score-drift.ts';

test('a change of live scores is counted and put into the audit log, for its source kind alone', async (t) => {
  const { guardian, close } = await openServedHouse({ withModel: false });
  t.after(close);
  const metrics = new Metrics();
  const drift = new ScoreDrift(guardian.log, silentLogger, metrics);
  const scores = (probability: number) => Array.from({ length: 512 }, () => makeScore({ probability }));
  drift.observe('packets', scores(0.1));
  drift.observe('zeek', scores(0.9));
  drift.observe('packets', scores(0.9));
  drift.observe('zeek', scores(0.9));
  await drift.settled();
  const noted: string[] = [];
  for await (const { entry } of guardian.log.entries()) {
    if (entry.action === 'score.drift') noted.push(`${entry.kind} ${JSON.stringify(entry.detail)}`);
  }
  assert.ok(noted.length >= 1);
  for (const each of noted) assert.match(each, /^event .*"sourceKind":"packets"/);
  assert.match(await metrics.text(), /score_drift_total\{source_kind="packets",direction="up"\} [1-9]/);
});
