import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { PcapWriter } from './pcap-writer.ts';

function written(fill: (writer: PcapWriter) => void, snapLength?: number): Buffer {
  const folder = mkdtempSync(join(tmpdir(), 'guardian-pcap-'));
  try {
    const path = join(folder, 'a.pcap');
    const writer = new PcapWriter(path, snapLength === undefined ? {} : { snapLength });
    fill(writer);
    writer.close();
    const bytes = readFileSync(path);
    assert.equal(bytes.length, writer.bytes);
    return bytes;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('an empty capture is the file header alone', () => {
  const bytes = written(() => {});
  assert.equal(bytes.toString('hex'), 'd4c3b2a10200040000000000000000000000040001000000');
});

test('a record holds time in microseconds, kept length and wire length', () => {
  const bytes = written((writer) => writer.write(Uint8Array.of(1, 2, 3, 4), 1_700_000_000_123.457, 1500), 3);
  assert.equal(bytes.readUInt32LE(24), 1_700_000_000);
  assert.equal(bytes.readUInt32LE(28), 123_457);
  assert.equal(bytes.readUInt32LE(32), 3);
  assert.equal(bytes.readUInt32LE(36), 1500);
  assert.deepEqual([...bytes.subarray(40)], [1, 2, 3]);
});

test('rounding up never writes a million microseconds', () => {
  const bytes = written((writer) => writer.write(Uint8Array.of(1), 1999.9999));
  assert.equal(bytes.readUInt32LE(24), 2);
  assert.equal(bytes.readUInt32LE(28), 0);
});

test('more than one buffer of packets reaches the file in order', () => {
  const packet = new Uint8Array(1000);
  const bytes = written((writer) => {
    for (let i = 0; i < 3000; i++) {
      packet[0] = i & 255;
      writer.write(packet, i);
    }
    assert.equal(writer.packets, 3000);
  });
  assert.equal(bytes.length, 24 + 3000 * 1016);
  for (let i = 0; i < 3000; i++) assert.equal(bytes[24 + i * 1016 + 16], i & 255);
});
