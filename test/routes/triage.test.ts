import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { NoticeDelivery } from '../../src/alerts/index.ts';
import { buildServer } from '../../src/server/index.ts';
import { makeJudged } from '../support/judged.ts';
import { openServedHouse } from '../support/served-guardian.ts';

async function openHouse(t: { after(work: () => Promise<void>): void }) {
  const house = await openServedHouse({ withModel: false });
  const app = await buildServer(house.guardian, { trust: 'local' });
  t.after(async () => {
    await app.close();
    await house.close();
  });
  const call = async (method: 'GET' | 'POST' | 'DELETE', url: string, body?: object) => {
    const headers = { host: 'localhost' };
    const answer = await app.inject({ method, url, headers, ...(body && { payload: body }) });
    return { status: answer.statusCode, text: answer.body, json: () => JSON.parse(answer.body) };
  };
  const raise = async (source: string, kind = 'exfiltration') => {
    const [state] = await house.guardian.detections.record([makeJudged({ sourceAddress: source }, { kind })]);
    return state?.uid ?? '';
  };
  const actions = async () => {
    const told: string[] = [];
    for await (const { entry } of house.guardian.log.entries()) {
      told.push(`${entry.kind} ${entry.action} ${entry.subject}`);
    }
    return told;
  };
  return { ...house, call, raise, actions };
}

suite('verdicts of analysts', () => {
  test('are kept with the detection, audited, exported with it, and the last one counts', async (t) => {
    const { call, raise, actions } = await openHouse(t);
    const uid = await raise('10.0.0.5');
    const at = `/v1/detections/${uid}/verdict`;
    assert.equal((await call('POST', at, { verdict: 'false' })).status, 201);
    const said = await call('POST', at, { verdict: 'true', note: 'seen on the host too' });
    assert.equal(said.json().model, 'flow@1.0.0');
    const { judgement } = (await call('GET', `/v1/detections/${uid}`)).json();
    assert.equal(judgement.verdict, 'true');
    assert.equal(judgement.note, 'seen on the host too');
    const [listed] = (await call('GET', '/v1/detections')).json().detections;
    assert.deepEqual(listed.judgement, judgement);
    const exported = await call('GET', '/v1/verdicts?format=jsonl');
    const [line, ...more] = exported.text.trim().split('\n');
    assert.deepEqual(more, []);
    const { verdict, detection } = JSON.parse(line ?? '');
    assert.deepEqual([verdict.verdict, detection.uid, detection.source.address], ['true', uid, '10.0.0.5']);
    const noted = (await actions()).filter((each) => each.includes('detection.verdict'));
    assert.deepEqual(noted, [
      ...[`intent detection.verdict ${uid}`, `outcome detection.verdict ${uid}`],
      ...[`intent detection.verdict ${uid}`, `outcome detection.verdict ${uid}`],
    ]);
  });

  test('measure precision with its exact interval', async (t) => {
    const { call, raise } = await openHouse(t);
    assert.deepEqual((await call('GET', '/v1/accuracy')).json(), { models: [] });
    const verdicts = [...Array(8).fill('true'), 'benign-trigger', 'false'];
    for (const [i, verdict] of verdicts.entries()) {
      await call('POST', `/v1/detections/${await raise(`10.0.0.${i}`)}/verdict`, { verdict });
    }
    const [of] = (await call('GET', '/v1/accuracy')).json().models;
    assert.deepEqual([of.model, of.judged, of.true, of.benignTrigger, of.false], ['flow@1.0.0', 10, 8, 1, 1]);
    // Clopper and Pearson for 8 of 10 and 9 of 10, as in published tables.
    const near = (got: number, expected: number) => assert.ok(Math.abs(got - expected) < 5e-4, `${got}`);
    near(of.precision.low, 0.4439);
    near(of.precision.high, 0.9748);
    near(of.sightPrecision.low, 0.555);
    near(of.sightPrecision.high, 0.9975);
  });

  test('are refused on what nobody raised, and in words that are none', async (t) => {
    const { call, raise } = await openHouse(t);
    const unknown = await call('POST', '/v1/detections/nobody/verdict', { verdict: 'true' });
    assert.deepEqual([unknown.status, unknown.json().code], [404, 'alerts.detection-unknown']);
    const uid = await raise('10.0.0.5');
    for (const body of [{}, { verdict: 'maybe' }, { verdict: 'true', by: 'somebody' }]) {
      assert.equal((await call('POST', `/v1/detections/${uid}/verdict`, body)).status, 400);
    }
  });
});

suite('rules that silence notices', () => {
  test('hold until they expire or are removed, and store what they silence', async (t) => {
    const { call, raise, guardian, clock, actions } = await openHouse(t);
    const made = await call('POST', '/v1/suppressions', {
      ...{ kind: 'exfiltration', source: '10.0.0.0/24' },
      ...{ hours: 2, reason: 'the backup moves' },
    });
    assert.equal(made.status, 201);
    const silenced = await raise('10.0.0.5');
    assert.equal((await guardian.detections.find(silenced))?.suppressedBy, made.json().id);
    assert.equal((await guardian.detections.find(await raise('10.0.1.5')))?.suppressedBy, undefined);
    const [rule] = (await call('GET', '/v1/suppressions')).json().rules;
    assert.equal(rule.active, true);
    clock.advance(2 * 3_600_000);
    assert.equal((await guardian.detections.find(await raise('10.0.0.6')))?.suppressedBy, undefined);
    assert.equal((await call('GET', '/v1/suppressions')).json().rules[0].active, false);
    assert.equal((await call('DELETE', `/v1/suppressions/${rule.id}`)).status, 200);
    const gone = await call('DELETE', `/v1/suppressions/${rule.id}`);
    assert.deepEqual([gone.status, gone.json().code], [404, 'alerts.rule-unknown']);
    assert.deepEqual(
      (await actions()).filter((each) => each.includes('suppression')),
      ['intent', 'outcome']
        .flatMap((kind) => `${kind} suppression.add ${rule.id}`)
        .concat(['intent', 'outcome'].map((kind) => `${kind} suppression.remove ${rule.id}`)),
    );
  });

  test('name something, have an end, and a reason', async (t) => {
    const { call } = await openHouse(t);
    for (const body of [
      { hours: 1, reason: 'everything' },
      { kind: 'port-scan', reason: 'no end' },
      { kind: 'port-scan', hours: 1, reason: ' ' },
      { kind: 'port-scan', hours: 9_000, reason: 'too long' },
      { source: '.', hours: 1, reason: 'no network' },
    ]) {
      assert.equal((await call('POST', '/v1/suppressions', body)).status, 400, JSON.stringify(body));
    }
  });
});

test('the guardian tells its status what its sinks did', async (t) => {
  const { call, guardian } = await openHouse(t);
  assert.ok(guardian.notices instanceof NoticeDelivery);
  assert.deepEqual((await call('GET', '/v1/status')).json().notices, {});
});
