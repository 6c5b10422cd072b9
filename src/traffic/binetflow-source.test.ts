import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BinetflowSource, isBinetflow } from './binetflow-source.ts';
import { openBytes } from './byte-source.ts';
import type { FlowRecord } from './flow.ts';

const HEADER =
  'StartTime,Dur,Proto,SrcAddr,Sport,Dir,DstAddr,Dport,State,sTos,dTos,TotPkts,TotBytes,SrcBytes';

async function read(text: string) {
  const chunks = async function* () {
    yield Buffer.from(text);
  };
  const source = new BinetflowSource(await openBytes(chunks(), () => {}));
  const flows: FlowRecord[] = [];
  for await (const batch of source.batches()) flows.push(...batch.records());
  return { source, flows };
}

test('reads a table without the packets of each side: they are not known', async () => {
  const { flows } = await read(
    `${HEADER},Label\n2019/04/04 16:23:00.325010,0.5,tcp,10.0.0.1,4000,   ->,10.0.0.2,0x01bb,SPA_SRA,0,0,9,900,400,x\n`,
  );
  const [flow] = flows;
  assert.deepEqual(
    [flow?.startMs, flow?.endMs, flow?.destinationPort, flow?.state, flow?.sourceKind],
    [Date.UTC(2019, 3, 4, 16, 23) + 325.01, Date.UTC(2019, 3, 4, 16, 23) + 825.01, 443, 'RSTR', 'csv'],
  );
  assert.ok(Number.isNaN(flow?.forward.packets) && Number.isNaN(flow?.backward.packets));
  assert.deepEqual([flow?.forward.bytes, flow?.backward.bytes], [400, 500]);
  assert.deepEqual([flow?.forward.tcpFlags, flow?.backward.tcpFlags], [0x1a, 0x16]);
});

test('reads packets of each side where the table has them, tabs, and an unanswered flow', async () => {
  const header = `${HEADER},SrcPkts`.replaceAll(',', '\t');
  const rows = [
    '2019/04/04 16:23:00,0,tcp,10.0.0.1,1,->,10.0.0.2,2,REQ,,,3,180,180,3',
    '2019/04/04 16:23:00,1,udp,::1,1,<->,::2,53,CON,0,0,2,200,80,1',
    '2019/04/04 16:23:00,1,arp,10.0.0.1,,who,10.0.0.2,,INT,,,2,84,84,2',
  ];
  assert.ok(isBinetflow(header));
  const { flows, source } = await read(`${header}\n${rows.join('\n').replaceAll(',', '\t')}\n`);
  assert.deepEqual(
    flows.map((flow) => [flow.state, flow.forward.packets, flow.backward.packets, flow.backward.bytes]),
    [
      ['S0', 3, 0, 0],
      ['SF', 1, 1, 120],
    ],
  );
  assert.deepEqual(source.counters.ignored, { 'argus-arp': 1 });
});

test('counts broken rows, and refuses a table without addresses', async () => {
  const rows = [
    '1,2',
    '2019/04/04,0,udp,::1,1,,::2,2,,,,1,1,1',
    '2019/04/04 16:23:00,0,udp,x,1,,::2,2,,,,1,1,1',
  ];
  const { source } = await read(
    `${HEADER}\n${rows.join('\n')}\n2019/04/04 16:23:00,0,udp,::1,1,,::2,2,,,,1,1,9\n`,
  );
  assert.deepEqual(source.counters.malformed, {
    'argus-field-count': 1,
    'argus-invalid-time': 1,
    'argus-invalid-address': 1,
    'argus-invalid-number': 1,
  });
  await assert.rejects(read('StartTime,SrcAddr,Proto\n'), /column DstAddr/);
});
