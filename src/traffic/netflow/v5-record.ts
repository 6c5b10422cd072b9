import type { Bytes } from '../../base/index.ts';
import { ENCODING, SLOT, type SlotName } from './information-elements.ts';
import type { RecordValues } from './record-values.ts';

/** Sizes of NetFlow v5, whose records have one fixed shape. */
export const V5: { readonly header: Bytes; readonly record: Bytes } = { header: 24, record: 48 };

/** Slot, place and length of each number of a v5 record. */
const NUMBERS: readonly (readonly [SlotName, number, number])[] = [
  ['packets', 16, 4],
  ['bytes', 20, 4],
  ['startUptime', 24, 4],
  ['endUptime', 28, 4],
  ['sourcePort', 32, 2],
  ['destinationPort', 34, 2],
  ['tcpFlags', 37, 1],
  ['protocol', 38, 1],
];

/** Reads the v5 record at `bytes[at, at + 48)`. */
export function readV5Record(values: RecordValues, bytes: Uint8Array, at: number): void {
  values.clear();
  values.set(0, ENCODING.sourceAddress, bytes, at, 4);
  values.set(0, ENCODING.destinationAddress, bytes, at + 4, 4);
  for (const [slot, offset, length] of NUMBERS) {
    values.set(SLOT[slot], ENCODING.unsigned, bytes, at + offset, length);
  }
}
