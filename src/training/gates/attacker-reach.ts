import { SeededRandom } from '../../base/index.ts';
import type { FeatureColumn, LoadedSchema } from '../../features/index.ts';

/** How an attacker can move a column; what is none of these stays. */
export type Reach = 'packets' | 'bytes' | 'length' | 'time' | 'packet-rate' | 'byte-rate' | 'interval';

/** Sums over many flows of many hosts: one flow hardly moves them. */
const WINDOW = /_(short|long|last)$|^ct_|^dst_host_|^flows$|^packetins$/;
/** What the other side sends: the attacker asks, and does not write the answer. */
const REPLY =
  /^(backward_|dst_|DST_TO_SRC|OUT_|rx_|response_)|_OUT(_|$)|^d(pkts|bytes|load|loss|inpkt|jit|mean)$|WIN_MAX|win$|retransmitted|RETRANSMITTED|out_of_order/;
const LENGTH = /length|per_packet|mean$|_PKT$|PKT_LEN$|byteperflow/;
const INTERVAL = /iat|interval|inpkt$|jit$|idle|active/;

/**
 * Which columns an attacker moves, by rule from unit and name: what the initiator of a flow sends more of (packets, padding),
 * how long he takes, and what follows from these. Never the answers of the other side, windows over many flows, categories,
 * flags, shares or addresses.
 */
export function reachOf(column: FeatureColumn): Reach | undefined {
  const { name, unit, type } = column;
  if (type !== 'number' || REPLY.test(name)) return undefined;
  if (INTERVAL.test(name)) return unit === 'ms' || unit === 's' ? 'interval' : undefined;
  if (WINDOW.test(name)) return undefined;
  switch (unit) {
    case 'packets':
      return 'packets';
    case 'bytes':
      return LENGTH.test(name) ? 'length' : 'bytes';
    case 'ms':
    case 's':
    case 'ns':
      return 'time';
    case 'packets/s':
      return 'packet-rate';
    case 'bytes/s':
    case 'bits/s':
    case 'kbit/s':
      return 'byte-rate';
    default:
      return undefined;
  }
}

export interface MoveOptions {
  /** Highest factor of packets, of the length of a packet, and of time; 1 or more. */
  readonly factor: number;
  readonly seed: number;
}

/**
 * Rows as an attacker could have sent them, Float32Array as `values`. Each row draws factors in [1, factor], evenly in their
 * logarithm: p times the packets, l times their length, t times the time; so p l times the bytes, p / t the packet rate,
 * p l / t the byte rate, and t / p the intervals, each with a jitter between 1 / factor and factor. Values stay in the
 * schema's range; what is missing stays missing. Columns are moved by themselves: a share of two moved ones is not
 * computed anew.
 */
export function moveWithinReach(
  values: Float32Array,
  { schema }: LoadedSchema,
  options: MoveOptions,
): Float32Array {
  const reaches = schema.columns.map(reachOf);
  const columns = schema.columns.length;
  const random = new SeededRandom(options.seed);
  const spread = Math.log(options.factor);
  const moved = Float32Array.from(values);
  for (let base = 0; base < values.length; base += columns) {
    const packets = Math.exp(random.uniform(0, spread));
    const length = Math.exp(random.uniform(0, spread));
    const time = Math.exp(random.uniform(0, spread));
    const factors: Readonly<Record<Reach, number>> = {
      packets,
      length,
      time,
      bytes: packets * length,
      'packet-rate': packets / time,
      'byte-rate': (packets * length) / time,
      interval: time / packets,
    };
    for (const [c, reach] of reaches.entries()) {
      if (reach === undefined) continue;
      const jitter = reach === 'interval' ? Math.exp(random.uniform(-spread, spread)) : 1;
      const at = base + c;
      moved[at] = scale(moved[at] as number, factors[reach] * jitter, schema.columns[c] as FeatureColumn);
    }
  }
  return moved;
}

function scale(value: number, factor: number, { transform, range }: FeatureColumn): number {
  if (Number.isNaN(value)) return value;
  const isLog = transform === 'log1p';
  const raw = (isLog ? Math.expm1(value) : value) * factor;
  const bounded = Math.min(range?.[1] ?? raw, Math.max(range?.[0] ?? raw, raw));
  return isLog ? Math.log1p(bounded) : bounded;
}
