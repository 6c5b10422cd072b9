import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { PacketSink } from '../../src/traffic/capture-reader.ts';
import { isPcapng, PcapngReader } from '../../src/traffic/pcapng-reader.ts';
import { interfaceBlock, sectionBlock } from '../support/packets.ts';
import { PcapReader } from '../support/pcap-reader.ts';

export const CAPTURE_FOLDERS = ['ndpi', 'slips', 'suricata-verify', 'tcpdump'];

/** The captures of the shared data below `root`, by name. */
export function captureNames(root: string): string[] {
  return CAPTURE_FOLDERS.flatMap((folder) =>
    readdirSync(join(root, folder))
      .sort()
      .map((name) => `${folder}/${name}`),
  );
}

/** Hands every packet of a capture file to `sink`; faults of the file end the reading. */
export function readCapture(path: string, sink: PacketSink): void {
  const bytes = readFileSync(path);
  const reader = isPcapng(bytes) ? new PcapngReader(sink, () => {}) : new PcapReader(sink, () => {});
  reader.push(new Uint8Array(bytes));
  reader.end();
}

export interface OneCapture {
  /** A pcapng file with the packets of all, one after the other, times to the microsecond. */
  readonly bytes: Uint8Array;
  /** The capture that each interface of the file stands for; a capture with several link types has several. */
  readonly interfaces: readonly string[];
}

/**
 * Many captures as one, so that a dissector starts once. An interface stands for a capture and one of its link types.
 */
export function oneCapture(root: string, names: readonly string[]): OneCapture {
  const interfaces: string[] = [];
  const descriptions: Uint8Array[] = [];
  const packets: Uint8Array[] = [];
  for (const name of names) {
    const ids = new Map<number, number>();
    readCapture(join(root, name), (bytes, offset, end, linkType, timeMs, wireLength) => {
      let id = ids.get(linkType);
      if (id === undefined) {
        id = interfaces.push(name) - 1;
        ids.set(linkType, id);
        descriptions.push(interfaceBlock(linkType));
      }
      packets.push(packetBlock(id, timeMs, bytes.subarray(offset, end), wireLength));
    });
  }
  return { bytes: Buffer.concat([sectionBlock(), ...descriptions, ...packets]), interfaces };
}

/** An enhanced packet block, written at once: there are a hundred thousand of them. */
function packetBlock(id: number, timeMs: number, packet: Uint8Array, wireLength: number): Uint8Array {
  const padded = packet.length + ((4 - (packet.length % 4)) % 4);
  const block = new Uint8Array(32 + padded);
  const view = new DataView(block.buffer);
  const micros = Math.round(timeMs * 1000);
  const words = [6, block.length, id, Math.floor(micros / 2 ** 32), micros % 2 ** 32, packet.length];
  for (const [i, word] of words.entries()) view.setUint32(i * 4, word, true);
  view.setUint32(24, Math.max(wireLength, packet.length), true);
  block.set(packet, 28);
  view.setUint32(block.length - 4, block.length, true);
  return block;
}
