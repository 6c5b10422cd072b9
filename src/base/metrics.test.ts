import assert from 'node:assert/strict';
import { it } from 'node:test';
import { Metrics } from './metrics.ts';

it('renders counters, gauges and histograms in the text format', async () => {
  const metrics = new Metrics();
  const refused = metrics.counter('refused_total', 'Refused requests.', ['code']);
  refused.add({ code: 'server.too-large' });
  refused.add({ code: 'server.too-large' }, 2);
  metrics.gauge('flows_open', 'Open flows.', () => 7);
  metrics.histogram('score_seconds', 'Scoring time.').observe({}, 0.0002);
  const text = await metrics.text();
  assert.match(text, /guardian_refused_total\{code="server.too-large"\} 3/);
  assert.match(text, /guardian_flows_open 7/);
  assert.match(text, /guardian_score_seconds_bucket\{le="0.00025"\} 1/);
  assert.match(metrics.contentType, /text\/plain/);
});

it('keeps two guardians in one process apart', async () => {
  const one = new Metrics();
  const two = new Metrics();
  one.counter('x_total', 'x').add({});
  two.counter('x_total', 'x');
  assert.match(await two.text(), /guardian_x_total 0/);
});
