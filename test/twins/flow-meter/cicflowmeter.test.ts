import assert from 'node:assert/strict';
import { DIRECTION_MEASURES, FLOW_MEASURES } from '../../../src/traffic/index.ts';
import { FLAG } from '../../support/packets.ts';
import { back, flowsOf, HANDSHAKE, measuresOf, only, out, query, testMeters } from './feed.ts';

/** The known errors of CICFlowMeter, each as what we do instead. */

testMeters('does not end a flow at one FIN', (make) => {
  const flow = only(
    flowsOf(make, [
      ...HANDSHAKE,
      [30, out(FLAG.finAck, { seq: 2 })],
      [10_000, back(FLAG.ack, { seq: 501, payload: 5 })],
      [10_010, back(FLAG.finAck, { seq: 506 })],
      [10_020, out(FLAG.ack, { seq: 3 })],
    ]),
  );
  assert.deepEqual([flow.forward.packets, flow.backward.packets, flow.state], [4, 3, 'SF']);
  const half = only(flowsOf(make, [...HANDSHAKE, [30, out(FLAG.finAck)], [9_000, back(FLAG.ack)]]));
  assert.deepEqual([half.state, half.endReason], ['S2', 'end-of-source']);
});

testMeters('does not ignore RST', (make) => {
  const flows = flowsOf(make, [
    ...HANDSHAKE,
    [30, back(FLAG.rst, { seq: 501 })],
    [40, out(FLAG.syn, { seq: 70 })],
  ]);
  assert.deepEqual(
    flows.map((flow) => [flow.state, flow.endReason]),
    [
      ['RSTR', 'tcp-end'],
      ['S0', 'end-of-source'],
    ],
  );
});

testMeters('active and idle are durations, not times', (make) => {
  const start = 1_700_000_000_000;
  const flow = only(
    flowsOf(
      make,
      [0, 100, 400, 10_400, 10_500, 20_500].map((at) => [start + at, query(1)]),
      { idlePeriodMs: 5_000 },
    ),
  );
  assert.deepEqual(measuresOf(flow, 'active_min_ms', 'active_max_ms', 'active_mean_ms'), [
    0,
    400,
    (400 + 100 + 0) / 3,
  ]);
  assert.deepEqual(
    measuresOf(flow, 'idle_count', 'idle_min_ms', 'idle_max_ms', 'idle_mean_ms'),
    [2, 10_000, 10_000, 10_000],
  );
});

testMeters('PSH and URG are counted in their direction', (make) => {
  const [psh, urg] = [8, 32];
  const flow = only(flowsOf(make, [...HANDSHAKE, [30, out(FLAG.ack | psh)], [40, back(FLAG.ack | urg)]]));
  assert.equal(flow.forward.tcpFlags, FLAG.syn | FLAG.ack | psh);
  assert.equal(flow.backward.tcpFlags, FLAG.syn | FLAG.ack | urg);
});

testMeters('averages are not integer-divided', (make) => {
  const flow = only(
    flowsOf(make, [
      [0, out(FLAG.ack, { payload: 1 })],
      [1, out(FLAG.ack, { payload: 2, seq: 2 })],
      [3, out(FLAG.ack, { payload: 2, seq: 4 })],
    ]),
  );
  assert.deepEqual(measuresOf(flow, 'forward_length_mean', 'forward_iat_mean_ms'), [(41 + 42 + 42) / 3, 1.5]);
});

testMeters('the first packet is counted in the lengths and the sample deviation is one', (make) => {
  const flow = only(
    flowsOf(make, [
      [0, out(FLAG.ack, { payload: 10 })],
      [4, out(FLAG.ack, { payload: 30, seq: 11 })],
    ]),
  );
  assert.deepEqual(
    measuresOf(flow, 'forward_length_min', 'forward_length_max', 'forward_length_std', 'forward_iat_std_ms'),
    [50, 70, Math.sqrt(200), 0],
  );
});

testMeters('bulk features are not built', (make) => {
  const names = [
    ...DIRECTION_MEASURES,
    ...FLOW_MEASURES,
    ...Object.keys(only(flowsOf(make, HANDSHAKE)).measures ?? {}),
  ];
  assert.deepEqual(
    names.filter((name) => name.includes('bulk')),
    [],
  );
});
