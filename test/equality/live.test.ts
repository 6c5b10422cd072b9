import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { openFlowSource } from '../../src/traffic/index.ts';
import { requireLiveWire, runLive } from '../support/live-wire.ts';
import { requireData } from '../support/requires.ts';
import { type SourceVectors, vectorsOf } from '../support/vectors.ts';

const SCHEMA = 'flow';
/** What depends on when packets came, or on the flows that came before. */
const TIMED = /duration|iat|rate|throughput|active|idle|^(src|dst|srv|pair|dst_srv)_/;
/** So long that no pause, of the capture or of this machine, ends a flow. */
const PATIENT = {
  idleTimeoutMs: 3.6e6,
  attemptTimeoutMs: 3.6e6,
  activeTimeoutMs: 8.64e7,
  tcpLingerMs: 3.6e6,
};

const folder = mkdtempSync(join(tmpdir(), 'live-'));
after(() => rmSync(folder, { recursive: true }));

describe('a live capture over a pair of interfaces', { timeout: 60_000 }, () => {
  it('gives the vectors of its own record, and every time-free feature of what was sent', async (t) => {
    const root = requireData(t, 'pcap');
    if (root === undefined || !requireLiveWire(t)) return;
    const capture = join(root, 'ndpi/coap_mqtt.pcap');
    const record = join(folder, 'record.pcap');
    const live = await runLive({ capture, rate: 2_000, record, schema: SCHEMA, meter: PATIENT });
    assert.deepEqual(live.lost, {});
    assert.equal(live.packets, live.sent);
    const again = await vectorsOf(await openFlowSource(record, PATIENT), SCHEMA);
    assert.equal(createHash('sha256').update(again.bytes).digest('hex'), live.vectors);
    const original = await vectorsOf(await openFlowSource(capture, PATIENT), SCHEMA);
    const columns = original.names.flatMap((name, i) => (TIMED.test(name) ? [] : [i]));
    assert.ok(columns.length >= 60, `${columns.length} time-free columns`);
    assert.deepEqual(timeFree(again, columns), timeFree(original, columns));
    t.diagnostic(`${live.sent} packets, ${live.flows} flows, ${columns.length} time-free features`);
  });

  it('loses nothing at a modest rate for three seconds, or counts what it lost', async (t) => {
    const root = requireData(t, 'pcap');
    if (root === undefined || !requireLiveWire(t)) return;
    const capture = join(root, 'ndpi/coap_mqtt.pcap');
    const live = await runLive({ capture, rate: 20_000, seconds: 3, schema: SCHEMA, meter: {} });
    const lost = Object.values(live.lost).reduce((sum, n) => sum + n, 0);
    assert.equal(live.packets + lost, live.sent);
    assert.deepEqual(live.malformed, {});
    t.diagnostic(`${live.sent} packets, ${lost} lost, ${live.cpuSeconds.toFixed(2)} CPU s`);
  });

  it('captures what the filter lets through', async (t) => {
    const root = requireData(t, 'pcap');
    if (root === undefined || !requireLiveWire(t)) return;
    const capture = join(root, 'ndpi/coap_mqtt.pcap');
    const live = await runLive({ capture, rate: 2_000, filter: 'tcp', schema: SCHEMA, meter: {} });
    assert.ok(live.packets > 0 && live.packets < live.sent, `${live.packets} of ${live.sent}`);
  });

  it('refuses an interface that is not there, naming those that are', async () => {
    await assert.rejects(
      openFlowSource('live:nowhere'),
      /there is no interface "nowhere"; there are .*\blo\b/,
    );
    await assert.rejects(
      openFlowSource('nowhere0'),
      /does not exist, and is no interface: there are .*\blo\b/,
    );
    const live = { program: 'no-such-tcpdump' };
    await assert.rejects(openFlowSource('live:lo', { live }), { code: 'traffic.capture-tool-missing' });
    for (const filter of ['', '-w /tmp/x', 'tcp\u0000', 'x'.repeat(5_000)]) {
      await assert.rejects(openFlowSource('live:lo', { live: { filter } }), {
        code: 'traffic.filter-invalid',
      });
    }
  });
});

/** Rows of the columns that know no time, by five-tuple and number of packets. */
function timeFree({ flows, names, values }: SourceVectors, columns: readonly number[]): string[] {
  return flows
    .map((flow, row) => {
      const ends = [flow.sourceAddress, flow.sourcePort, flow.destinationAddress, flow.destinationPort];
      const cells = columns.map((column) => values[row * names.length + column]);
      return `${[flow.protocol, ...ends].join(' ')}: ${cells.join(' ')}`;
    })
    .sort();
}
