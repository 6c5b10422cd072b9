import { closeSync, existsSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SeededRandom } from '../../src/base/index.ts';
import { isPcapng, PcapngReader } from '../../src/traffic/pcapng-reader.ts';
import { PcapReader } from '../../test/support/pcap-reader.ts';

export interface CaptureShape {
  /** Copies of every capture. */
  readonly copies: number;
  /** Different sets of addresses among them: one for each copy means many flows. */
  readonly addressSets: number;
}

/** Traffic time of a capture, ms: short enough that most flows are open at once. */
const SPAN_MS = 6_000;
const ETHERNET = 1;
const WRITE_SIZE = 1 << 22;

interface SourcePacket {
  readonly bytes: Uint8Array;
  /** After the first packet of its file, ms, squeezed into `SPAN_MS`. */
  readonly afterMs: number;
  readonly wireLength: number;
}

/**
 * A pcap of every Ethernet packet of the captures `files`, `copies` times with altered IP addresses and interleaved in
 * time as if all were captured at once, made where it is not yet. Checksums are left as they were. Returns its path.
 */
export function makeFlowCapture(files: readonly string[], shape: CaptureShape): string {
  const folder = join(tmpdir(), 'guardian-bench-flows');
  const path = join(folder, `flows-${files.length}-${shape.copies}-${shape.addressSets}-${SPAN_MS}.pcap`);
  if (existsSync(path)) return path;
  mkdirSync(folder, { recursive: true });
  const sources = files.map(readSource).filter((packets) => packets.length > 0);
  const packets = sources.flat();
  const random = new SeededRandom(7);
  // Microseconds, then the copy, then the packet: one number each, so that sorting is quick.
  const order = new Float64Array(packets.length * shape.copies);
  const step = packets.length;
  let at = 0;
  for (let copy = 0; copy < shape.copies; copy++) {
    let index = 0;
    for (const source of sources) {
      const duration = source.at(-1)?.afterMs ?? 0;
      const shift = random.uniform(0, SPAN_MS - duration);
      for (const packet of source) {
        const micros = Math.max(0, Math.floor((shift + packet.afterMs) * 1_000));
        order[at++] = micros * step * shape.copies + copy * step + index++;
      }
    }
  }
  order.sort();
  writePackets(`${path}.part`, packets, { order, step, shape });
  renameSync(`${path}.part`, path);
  return path;
}

function readSource(file: string): SourcePacket[] {
  const packets: SourcePacket[] = [];
  let first = Number.NaN;
  let last = 0;
  const sink = (b: Uint8Array, from: number, end: number, link: number, timeMs: number, wire: number) => {
    if (link !== ETHERNET || end === from) return;
    if (Number.isNaN(first)) first = timeMs;
    last = Math.max(last, timeMs - first);
    packets.push({ bytes: b.slice(from, end), afterMs: last, wireLength: wire });
  };
  const bytes = new Uint8Array(readFileSync(file));
  const reader = isPcapng(bytes) ? new PcapngReader(sink, () => {}) : new PcapReader(sink, () => {});
  reader.push(bytes);
  const scale = last > SPAN_MS ? SPAN_MS / last : 1;
  return packets.map((packet) => ({ ...packet, afterMs: packet.afterMs * scale }));
}

function writePackets(
  path: string,
  packets: readonly SourcePacket[],
  { order, step, shape }: { order: Float64Array; step: number; shape: CaptureShape },
): void {
  const file = openSync(path, 'w');
  const buffer = new Uint8Array(WRITE_SIZE + (1 << 20));
  const view = new DataView(buffer.buffer);
  view.setUint32(0, 0xa1b2c3d4, true);
  view.setUint16(4, 2, true);
  view.setUint16(6, 4, true);
  view.setUint32(16, 262_144, true);
  view.setUint32(20, ETHERNET, true);
  let used = 24;
  for (const place of order) {
    const packet = packets[place % step] as SourcePacket;
    const copy = Math.floor(place / step) % shape.copies;
    const micros = Math.floor(place / (step * shape.copies));
    view.setUint32(used, 1_700_000_000 + Math.floor(micros / 1e6), true);
    view.setUint32(used + 4, micros % 1e6, true);
    view.setUint32(used + 8, packet.bytes.length, true);
    view.setUint32(used + 12, Math.max(packet.wireLength, packet.bytes.length), true);
    used += 16;
    buffer.set(packet.bytes, used);
    alterAddresses(buffer.subarray(used, used + packet.bytes.length), copy % shape.addressSets);
    used += packet.bytes.length;
    if (used >= WRITE_SIZE) {
      writeSync(file, buffer, 0, used);
      used = 0;
    }
  }
  writeSync(file, buffer, 0, used);
  closeSync(file);
}

/** Changes the second byte of both IPv4 addresses, or the fourth of both IPv6 addresses, behind VLAN tags. */
function alterAddresses(packet: Uint8Array, set: number): void {
  let at = 12;
  const type = () => ((packet[at] ?? 0) << 8) | (packet[at + 1] ?? 0);
  while (type() === 0x8100 || type() === 0x88a8) at += 4;
  const places = type() === 0x0800 ? [at + 15, at + 19] : type() === 0x86dd ? [at + 13, at + 29] : [];
  for (const place of places) if (place < packet.length) packet[place] = (packet[place] as number) ^ set;
}
