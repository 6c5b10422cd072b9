import assert from 'node:assert/strict';
import { appendFile, mkdtemp, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { ethernet, ipv4, pcapFile, udp } from '../../test/support/packets.ts';
import { TrafficError } from './errors.ts';
import type { FlowRecord } from './flow.ts';
import { FollowedFile } from './follow-file.ts';
import { openFlowSource } from './open-flow-source.ts';

let folder = '';
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'follow-'));
});
after(() => rm(folder, { recursive: true }));

/** Follows a file; `next` waits for that many bytes more and gives them as text, a rotation as `|`. */
function follow(path: string) {
  const events: string[] = [];
  const file = new FollowedFile(path, { pollMs: 2, onEvent: (code) => events.push(code) });
  const chunks = file.chunks();
  let rest = '';
  const next = async (length: number) => {
    while (rest.length < length) {
      const { value, done } = await chunks.next();
      if (done === true) break;
      rest += (value.isNewFile ? '|' : '') + Buffer.from(value.bytes).toString();
    }
    const text = rest.slice(0, length);
    rest = rest.slice(length);
    return text;
  };
  return { file, events, next };
}

test('follows a file byte for byte across its rotation', async () => {
  const path = join(folder, 'a.log');
  await writeFile(path, 'one\n');
  const { file, events, next } = follow(path);
  assert.equal(await next(4), 'one\n');
  await appendFile(path, 'tw');
  assert.equal(await next(2), 'tw');
  await rename(path, `${path}.1`);
  // The writer still has the old file open; the new one comes a while later.
  await appendFile(`${path}.1`, 'o\n');
  assert.equal(await next(2), 'o\n');
  await writeFile(path, 'three\n');
  assert.equal(await next(7), '|three\n');
  await rename(path, `${path}.2`);
  await appendFile(`${path}.2`, 'late\n');
  await writeFile(path, 'four\n');
  assert.equal(await next(11), 'late\n|four\n');
  assert.deepEqual(events, ['file-rotated', 'file-rotated']);
  file.stop();
  assert.equal(await next(1), '');
});

test('begins anew where a file is truncated', async () => {
  const path = join(folder, 'b.log');
  await writeFile(path, 'a long line\n');
  const { file, events, next } = follow(path);
  assert.equal(await next(12), 'a long line\n');
  await truncate(path, 0);
  await appendFile(path, 'short\n');
  assert.equal(await next(7), '|short\n');
  assert.deepEqual(events, ['file-truncated']);
  file.stop();
  assert.equal(await next(1), '');
});

test('refuses to follow a file that is not there', async () => {
  const isMissing = (error: unknown) =>
    error instanceof TrafficError && error.code === 'traffic.source-missing';
  await assert.rejects(openFlowSource(join(folder, 'absent.log'), { follow: true }), isMissing);
});

test('ends the wait for a beginning when it is aborted', async () => {
  const path = join(folder, 'empty.log');
  await writeFile(path, '');
  const stop = new AbortController();
  const opening = openFlowSource(path, { follow: true, signal: stop.signal });
  stop.abort();
  await assert.rejects(opening, /it is empty/);
});

const FIELDS = ['ts', 'id.orig_h', 'id.orig_p', 'id.resp_h', 'id.resp_p', 'proto'];
const HEADER = `#separator \\x09\n#fields\t${FIELDS.join('\t')}\n`;
const line = (port: number) => `5\t10.0.0.1\t${port}\t10.0.0.2\t53\tudp\n`;

/** The flows of a followed source, one by one. */
async function followFlows(path: string) {
  const source = await openFlowSource(path, { follow: true, pollMs: 2 });
  const stop = new AbortController();
  const batches = source.batches(stop.signal)[Symbol.asyncIterator]();
  const flows: FlowRecord[] = [];
  const next = async (count: number) => {
    while (flows.length < count) {
      const { value, done } = await batches.next();
      if (done === true) break;
      flows.push(...value.records());
    }
    return flows.splice(0);
  };
  return { source, stop, next };
}

test('follows a conn.log across rotation, with another header and a half-written line', async () => {
  const path = join(folder, 'conn.log');
  await writeFile(path, HEADER + line(1));
  const { source, stop, next } = await followFlows(path);
  assert.equal((await next(1))[0]?.sourcePort, 1);
  await appendFile(path, line(2).slice(0, 9));
  await appendFile(path, line(2).slice(9) + line(3));
  assert.deepEqual(
    (await next(2)).map((flow) => flow.sourcePort),
    [2, 3],
  );
  // A line that the old file never ends is a line of its own, and broken.
  await appendFile(path, '6\t10.0.0.1');
  await rename(path, `${path}.1`);
  await writeFile(
    path,
    `#separator |\n#fields|${FIELDS.toReversed().join('|')}\nudp|53|10.0.0.2|4|10.0.0.1|7\n`,
  );
  assert.deepEqual(
    (await next(1)).map((flow) => [flow.sourcePort, flow.startMs]),
    [[4, 7000]],
  );
  assert.deepEqual(source.counters.malformed, { 'zeek-field-count': 1 });
  assert.deepEqual(source.counters.ignored, { 'file-rotated': 1 });
  stop.abort();
  assert.deepEqual(await next(1), []);
});

test('follows a capture that is rotated', async () => {
  const path = join(folder, 'live.pcap');
  const packet = (port: number, timeMs: number) => ({
    bytes: ethernet(0x0800, ipv4('10.0.0.1', '10.0.0.2', 17, udp(port, 53, 5))),
    timeMs,
  });
  await writeFile(path, pcapFile([packet(1, 1000)]));
  const { source, stop, next } = await followFlows(path);
  await rename(path, `${path}.1`);
  await writeFile(path, pcapFile([packet(2, 500_000), packet(3, 1_000_000)]));
  assert.deepEqual(
    (await next(2)).map((flow) => flow.sourcePort),
    [1, 2],
  );
  stop.abort();
  assert.deepEqual(
    (await next(1)).map((flow) => flow.sourcePort),
    [3],
  );
  assert.deepEqual(source.counters.malformed, {});
});
