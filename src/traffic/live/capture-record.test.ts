import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { ethernet, FLAG, ipv4, pcapFile, tcp } from '../../../test/support/packets.ts';
import { PcapBoundaries } from '../pcap-boundaries.ts';
import { CaptureRecord } from './capture-record.ts';

const folder = mkdtempSync(join(tmpdir(), 'record-'));
after(() => rmSync(folder, { recursive: true }));

const SYN = ethernet(0x0800, ipv4('10.0.0.3', '10.0.0.4', 6, tcp(5, 6, FLAG.syn)));
const CAPTURE = pcapFile(Array.from({ length: 40 }, (_, i) => ({ bytes: SYN, timeMs: i })));
const RECORD = (CAPTURE.length - 24) / 40;

function* cut(bytes: Uint8Array, sizes: readonly number[]): Generator<Uint8Array> {
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length] as number;
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

test('finds the ends of records, however the stream is cut', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 8 }), (sizes) => {
      const boundaries = new PcapBoundaries();
      const ends: number[] = [];
      let at = 0;
      for (const chunk of cut(CAPTURE, sizes)) {
        boundaries.push(chunk, (offset) => ends.push(at + offset));
        at += chunk.length;
      }
      assert.deepEqual(
        ends,
        Array.from({ length: 41 }, (_, i) => 24 + i * RECORD),
      );
      assert.ok(boundaries.isBetween);
    }),
    { seed: 41, numRuns: 200 },
  );
});

test('gives up on what is no pcap, and on a record longer than any packet', () => {
  const zeros = new PcapBoundaries();
  zeros.push(new Uint8Array(100), () => assert.fail('a boundary'));
  assert.equal(zeros.isSound, false);
  const long = new Uint8Array(CAPTURE);
  long.fill(255, 24 + 8, 24 + 12);
  const boundaries = new PcapBoundaries();
  boundaries.push(long, (offset) => assert.equal(offset, 24));
  assert.equal(boundaries.isSound, false);
});

test('records the very bytes, and cuts them between two packets into files that can be read', async () => {
  const lost = {};
  const whole = await CaptureRecord.open({ path: join(folder, 'whole.pcap') }, lost);
  for (const chunk of cut(CAPTURE, [7, 100, 1])) await whole.write(chunk);
  await whole.close();
  assert.deepEqual(new Uint8Array(readFileSync(join(folder, 'whole.pcap'))), new Uint8Array(CAPTURE));

  const path = join(folder, 'rotated.pcap');
  const rotated = await CaptureRecord.open({ path, fileBytes: 24 + 10 * RECORD + 5, files: 3 }, lost);
  for (const chunk of cut(CAPTURE, [33, 200])) await rotated.write(chunk);
  await rotated.close();
  assert.equal(existsSync(path), false, 'the oldest of four files is gone');
  const kept = [1, 2, 3].map((i) => readFileSync(`${path}.${i}`));
  const packets = Buffer.concat(kept.map((file) => file.subarray(24)));
  assert.deepEqual(packets, Buffer.from(CAPTURE.subarray(CAPTURE.length - packets.length)));
  for (const file of kept) {
    assert.deepEqual(file.subarray(0, 24), Buffer.from(CAPTURE.subarray(0, 24)));
    assert.equal((file.length - 24) % RECORD, 0);
    assert.ok(file.length <= 24 + 10 * RECORD + 5);
  }
  assert.deepEqual(lost, {});
});

test('overwrites nothing, and counts what a refusal to write has cost', async () => {
  const path = join(folder, 'taken.pcap');
  const lost: Record<string, number> = {};
  const first = await CaptureRecord.open({ path, fileBytes: 24 + 2 * RECORD }, lost);
  await assert.rejects(CaptureRecord.open({ path }, {}), { code: 'traffic.record-exists' });
  await assert.rejects(CaptureRecord.open({ path: join(folder, 'no/such') }, {}), {
    code: 'traffic.record-failed',
  });
  // The next file of the rotation cannot be made.
  await (await CaptureRecord.open({ path: `${path}.1` }, {})).close();
  for (const chunk of cut(CAPTURE, [RECORD])) await first.write(chunk);
  await first.close();
  assert.equal(first.failure, 'EEXIST');
  assert.equal((lost.record ?? 0) + first.bytes, CAPTURE.length);

  const full: Record<string, number> = {};
  const device = await CaptureRecord.open({ path: join(folder, 'sized.pcapng'), fileBytes: 50 }, full);
  for (const chunk of cut(new Uint8Array(120), [40])) await device.write(chunk);
  assert.equal(device.failure, 'size limit');
  assert.deepEqual(full, { record: 80 });
});
