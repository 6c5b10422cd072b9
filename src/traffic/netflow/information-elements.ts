/**
 * Elements of an exported flow that are read, by the slot their value is put into. Numbers are those of IANA's IPFIX
 * registry, which NetFlow v9 (RFC 3954, section 8) shares below 128.
 */
export const SLOTS = [
  'protocol',
  'sourcePort',
  'destinationPort',
  'tcpFlags',
  'reverseTcpFlags',
  'bytes',
  'packets',
  'totalBytes',
  'totalPackets',
  /** OUT_BYTES and OUT_PKTS of NetFlow v9: the other direction for nProbe, the same one behind a middlebox by RFC 5102. */
  'outBytes',
  'outPackets',
  'reverseBytes',
  'reversePackets',
  'startUptime',
  'endUptime',
  'startMs',
  'endMs',
  'reverseStartMs',
  'reverseEndMs',
  /** Before the export time, in ms. */
  'startBefore',
  'endBefore',
  'durationMs',
  'systemInitMs',
  'icmpTypeAndCode',
  'icmpType',
  'icmpCode',
  'endReason',
  'lengthMin',
  'lengthMax',
  'reverseLengthMin',
  'reverseLengthMax',
  'samplingInterval',
  'samplingSpace',
  'retransmittedIn',
  'retransmittedOut',
  'outOfOrderIn',
  'outOfOrderOut',
  'windowMaxIn',
  'windowMaxOut',
  'packetsTo128',
  'packetsTo256',
  'packetsTo512',
  'packetsTo1024',
  'packetsTo1514',
  'durationIn',
  'durationOut',
  'dnsQueryType',
  'dnsReturnCode',
  'dnsAnswers',
  'dnsTtl',
] as const;

export type SlotName = (typeof SLOTS)[number];

/** Position of each slot in a record's values. */
export const SLOT = Object.fromEntries(SLOTS.map((name, i) => [name, i])) as Readonly<
  Record<SlotName, number>
>;

/** Slots of the texts and addresses of a record. */
export const TEXT_SLOTS = ['dnsQuery', 'sni'] as const;

/** How the bytes of an element are read. */
export const ENCODING = {
  /** Unsigned number of 1 to 8 bytes, in network order (shortened encodings of RFC 7011, section 6.2, included). */
  unsigned: 0,
  /** Seconds since 1970, taken as ms. */
  seconds: 1,
  /** NTP time: 32 bits of seconds since 1900 and 32 bits of fraction, taken as ms since 1970. */
  ntp: 2,
  microseconds: 3,
  sourceAddress: 4,
  destinationAddress: 5,
  text: 6,
} as const;

/** An element that is read: where its value goes and how. */
export interface Element {
  readonly slot: number;
  readonly encoding: number;
}

/** Private enterprise numbers: none (IANA's own), the reverse direction (RFC 5103), ntop. */
export const PEN = { none: 0, reverse: 29_305, ntop: 35_632 } as const;

/** nProbe writes its own elements into NetFlow v9 from this number on. */
const NTOP_BASE = 57_472;

const { unsigned, seconds, ntp, microseconds } = ENCODING;

const STANDARD: Readonly<Record<number, readonly [SlotName, number]>> = {
  1: ['bytes', unsigned],
  2: ['packets', unsigned],
  4: ['protocol', unsigned],
  6: ['tcpFlags', unsigned],
  7: ['sourcePort', unsigned],
  11: ['destinationPort', unsigned],
  21: ['endUptime', unsigned],
  22: ['startUptime', unsigned],
  23: ['outBytes', unsigned],
  24: ['outPackets', unsigned],
  25: ['lengthMin', unsigned],
  26: ['lengthMax', unsigned],
  32: ['icmpTypeAndCode', unsigned],
  34: ['samplingInterval', unsigned],
  50: ['samplingInterval', unsigned],
  85: ['totalBytes', unsigned],
  86: ['totalPackets', unsigned],
  136: ['endReason', unsigned],
  139: ['icmpTypeAndCode', unsigned],
  150: ['startMs', seconds],
  151: ['endMs', seconds],
  152: ['startMs', unsigned],
  153: ['endMs', unsigned],
  154: ['startMs', ntp],
  155: ['endMs', ntp],
  156: ['startMs', ntp],
  157: ['endMs', ntp],
  158: ['startBefore', microseconds],
  159: ['endBefore', microseconds],
  160: ['systemInitMs', unsigned],
  161: ['durationMs', unsigned],
  162: ['durationMs', microseconds],
  176: ['icmpType', unsigned],
  177: ['icmpCode', unsigned],
  178: ['icmpType', unsigned],
  179: ['icmpCode', unsigned],
  180: ['sourcePort', unsigned],
  181: ['destinationPort', unsigned],
  182: ['sourcePort', unsigned],
  183: ['destinationPort', unsigned],
  231: ['bytes', unsigned],
  232: ['reverseBytes', unsigned],
  298: ['packets', unsigned],
  299: ['reversePackets', unsigned],
  305: ['samplingInterval', unsigned],
  306: ['samplingSpace', unsigned],
};

const REVERSE: Readonly<Record<number, readonly [SlotName, number]>> = {
  1: ['reverseBytes', unsigned],
  2: ['reversePackets', unsigned],
  6: ['reverseTcpFlags', unsigned],
  25: ['reverseLengthMin', unsigned],
  26: ['reverseLengthMax', unsigned],
  85: ['reverseBytes', unsigned],
  86: ['reversePackets', unsigned],
  150: ['reverseStartMs', seconds],
  151: ['reverseEndMs', seconds],
  152: ['reverseStartMs', unsigned],
  153: ['reverseEndMs', unsigned],
  154: ['reverseStartMs', ntp],
  155: ['reverseEndMs', ntp],
  156: ['reverseStartMs', ntp],
  157: ['reverseEndMs', ntp],
};

const NTOP: Readonly<Record<number, readonly [SlotName, number]>> = {
  88: ['packetsTo128', unsigned],
  89: ['packetsTo256', unsigned],
  90: ['packetsTo512', unsigned],
  91: ['packetsTo1024', unsigned],
  92: ['packetsTo1514', unsigned],
  109: ['retransmittedIn', unsigned],
  110: ['retransmittedOut', unsigned],
  111: ['outOfOrderIn', unsigned],
  112: ['outOfOrderOut', unsigned],
  207: ['dnsQueryType', unsigned],
  208: ['dnsReturnCode', unsigned],
  209: ['dnsAnswers', unsigned],
  352: ['dnsTtl', unsigned],
  391: ['durationIn', unsigned],
  392: ['durationOut', unsigned],
  416: ['windowMaxIn', unsigned],
  420: ['windowMaxOut', unsigned],
};

const NTOP_TEXTS: Readonly<Record<number, number>> = { 188: 1, 205: 0 };

const ADDRESSES: Readonly<Record<number, { readonly length: number; readonly encoding: number }>> = {
  8: { length: 4, encoding: ENCODING.sourceAddress },
  12: { length: 4, encoding: ENCODING.destinationAddress },
  27: { length: 16, encoding: ENCODING.sourceAddress },
  28: { length: 16, encoding: ENCODING.destinationAddress },
};

/** Length of a field whose length stands before each value (RFC 7011, section 7). */
export const VARIABLE_LENGTH = 65_535;

/**
 * How the element `id` of enterprise `pen` with `length` bytes is read, or undefined where it is skipped. A known
 * element with a length that it cannot have is skipped as well.
 */
export function findElement(pen: number, id: number, length: number): Element | undefined {
  const address = pen === PEN.none ? ADDRESSES[id] : undefined;
  if (address !== undefined) {
    return address.length === length ? { slot: 0, encoding: address.encoding } : undefined;
  }
  const ntop = pen === PEN.ntop ? id : pen === PEN.none && id >= NTOP_BASE ? id - NTOP_BASE : -1;
  const text = NTOP_TEXTS[ntop];
  if (text !== undefined) return { slot: text, encoding: ENCODING.text };
  let entry = NTOP[ntop];
  if (pen === PEN.none && ntop < 0) entry = STANDARD[id];
  if (pen === PEN.reverse) entry = REVERSE[id];
  if (entry === undefined) return undefined;
  const [slot, encoding] = entry;
  if (encoding === ENCODING.ntp ? length !== 8 : length < 1 || length > 8) return undefined;
  return { slot: SLOT[slot], encoding };
}
