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

it('a metric that cannot be read now is left out, and the others are told', async () => {
  const metrics = new Metrics();
  let isAway = false;
  metrics.counter('x_total', 'x').add({});
  metrics.measured('judged', 'Judged.', ['model'], async () => {
    if (isAway) throw new RangeError('away');
    return [{ labels: { model: 'flow' }, value: 1 }];
  });
  assert.match(await metrics.text(), /guardian_judged\{model="flow"\} 1/);
  isAway = true;
  const text = await metrics.text();
  assert.match(text, /guardian_x_total 1/);
  assert.doesNotMatch(text, /guardian_judged\{/);
});

it('counts and histograms that are kept elsewhere are read at each scrape', async () => {
  const metrics = new Metrics();
  let shed = 3;
  metrics.counted('shed_total', 'Shed requests.', 'reason', () => ({ deadline: shed, priority: 0 }));
  metrics.histogramOf('queue_seconds', 'Waiting.', () => ({
    ...{ bounds: [0.001, 0.01], counts: [2, 5], count: 6, sum: 0.75 },
  }));
  await metrics.text();
  shed = 4;
  const text = await metrics.text();
  for (const line of [
    'guardian_shed_total{reason="deadline"} 4',
    'guardian_shed_total{reason="priority"} 0',
    '# TYPE guardian_queue_seconds histogram',
    'guardian_queue_seconds_bucket{le="0.001"} 2',
    'guardian_queue_seconds_bucket{le="0.01"} 5',
    'guardian_queue_seconds_bucket{le="+Inf"} 6',
    'guardian_queue_seconds_sum 0.75',
    'guardian_queue_seconds_count 6',
  ]) {
    assert.ok(text.includes(line), line);
  }
});
