import type { FlowBatch } from '../traffic/index.ts';
import { BLOCK } from './column-kernel.ts';
import { DistinctCount } from './distinct-count.ts';
import { FlowHistory, LINKS, NUMBERS } from './flow-history.ts';
import type { FlowWindows } from './flow-windows.ts';
import { LAST_WINDOW_INDEX as AT, LAST_WINDOW_COLUMNS } from './last-window-columns.ts';
import type { WindowLimits } from './schema.ts';

/** Fewer starts than this have no regularity to speak of. */
const LEAST_STARTS = 4;

/**
 * Windows over the last flows of a flow's source, destination, pair and channel. "last" is the last
 * `connections` of the key in the order the flows arrived, the flow itself included; "short" and "long" are
 * those among them that STARTED at most that long before or after it.
 *
 * Why starts and not ends: flows arrive when they end, and an unanswered SYN ends seconds after an answered one,
 * a UDP flow half a minute after. Flows of one burst start together however they end, so their starts measure
 * the rate. Both directions of time are looked at, because a long flow arrives after the burst that followed its
 * start; so late and unordered times need no special case.
 *
 * Sums and means leave out counts that the source did not report and are NaN where it reported none.
 *
 * Each method walks one chain, at most `connections` entries, and allocates nothing.
 */
export class LastWindows implements FlowWindows {
  readonly columns = LAST_WINDOW_COLUMNS;
  readonly #history: FlowHistory;
  readonly #limits: WindowLimits;
  readonly #hosts: DistinctCount;
  readonly #hostsLong: DistinctCount;
  readonly #hostsOfService: DistinctCount;
  readonly #ports: DistinctCount;
  readonly #portsLong: DistinctCount;
  readonly #starts: Float64Array;
  readonly #row = new Float64Array(LAST_WINDOW_COLUMNS.length);

  constructor(limits: WindowLimits) {
    this.#history = new FlowHistory(limits.historyFlows);
    this.#limits = limits;
    this.#hosts = new DistinctCount(limits.connections);
    this.#hostsLong = new DistinctCount(limits.connections);
    this.#hostsOfService = new DistinctCount(limits.connections);
    this.#ports = new DistinctCount(limits.connections);
    this.#portsLong = new DistinctCount(limits.connections);
    this.#starts = new Float64Array(limits.intervals);
  }

  get remembered(): number {
    return this.#history.size;
  }

  get forgotten(): number {
    return this.#history.forgotten;
  }

  add(
    batch: FlowBatch,
    from: number,
    rows: number,
    leftOut: Uint8Array,
    cells: Float64Array,
    at: number,
  ): void {
    for (let row = 0; row < rows; row++) {
      if (leftOut[row] === 0) this.#addRow(batch, from + row, cells, at + row);
    }
  }

  #addRow(batch: FlowBatch, row: number, cells: Float64Array, at: number): void {
    const entry = this.#history.push(batch, row);
    const values = this.#row;
    this.#writeSource(entry, values);
    this.#writeDestination(entry, values);
    this.#writePair(entry, values);
    this.#writeChannel(entry, values);
    for (let c = 0, to = at; c < values.length; c++, to += BLOCK) cells[to] = values[c] as number;
  }

  #writeSource(entry: number, out: Float64Array): void {
    const { numbers, links } = this.#history;
    const { shortMs, longMs } = this.#limits;
    const count = this.#length(this.#history.heldBySource(entry));
    const t = numbers[entry * NUMBERS.stride + NUMBERS.start] as number;
    const own = links[entry * LINKS.stride + LINKS.service] as number;
    let inShort = 0;
    let inLong = 0;
    let failedAll = 0;
    let failedLong = 0;
    let same = 0;
    let earliest = t;
    let latest = t;
    let bytes = 0;
    let measured = 0;
    let outBytes = Number.NaN;
    let inBytes = Number.NaN;
    this.#hosts.reset();
    this.#hostsLong.reset();
    this.#hostsOfService.reset();
    this.#ports.reset();
    for (
      let k = 0, e = entry;
      k < count;
      k++, e = links[e * LINKS.stride + LINKS.previousOfSource] as number
    ) {
      const n = e * NUMBERS.stride;
      const l = e * LINKS.stride;
      const s = numbers[n + NUMBERS.start] as number;
      const host = links[l + LINKS.destination] as number;
      const isLong = Math.abs(s - t) <= longMs;
      const f = links[l + LINKS.failed] as number;
      const o = numbers[n + NUMBERS.outBytes] as number;
      const i = numbers[n + NUMBERS.inBytes] as number;
      if (s < earliest) earliest = s;
      if (s > latest) latest = s;
      if (Math.abs(s - t) <= shortMs) inShort++;
      failedAll += f;
      this.#hosts.add(host);
      this.#ports.add(links[l + LINKS.service] as number);
      if (links[l + LINKS.service] === own) {
        same++;
        this.#hostsOfService.add(host);
      }
      if (o + i >= 0) {
        bytes += o + i;
        measured++;
      }
      if (!isLong) continue;
      inLong++;
      failedLong += f;
      this.#hostsLong.add(host);
      if (o >= 0) outBytes = outBytes >= 0 ? outBytes + o : o;
      if (i >= 0) inBytes = inBytes >= 0 ? inBytes + i : i;
    }
    out[AT.src_count_short] = inShort;
    out[AT.src_count_long] = inLong;
    out[AT.src_count_last] = count;
    out[AT.src_span_last] = (latest - earliest) / 1000;
    out[AT.src_hosts_long] = this.#hostsLong.count;
    out[AT.src_hosts_last] = this.#hosts.count;
    out[AT.src_ports_last] = this.#ports.count;
    out[AT.src_failed_share_long] = failedLong / inLong;
    out[AT.src_failed_share_last] = failedAll / count;
    out[AT.src_same_service_share_last] = same / count;
    out[AT.src_same_service_hosts_last] = this.#hostsOfService.count;
    out[AT.src_mean_bytes_last] = bytes / measured;
    out[AT.src_out_bytes_long] = outBytes;
    out[AT.src_in_bytes_long] = inBytes;
  }

  #writeDestination(entry: number, out: Float64Array): void {
    const { numbers, links } = this.#history;
    const { shortMs, longMs } = this.#limits;
    const count = this.#length(this.#history.heldByDestination(entry));
    const t = numbers[entry * NUMBERS.stride + NUMBERS.start] as number;
    const until = numbers[entry * NUMBERS.stride + NUMBERS.end] as number;
    const own = links[entry * LINKS.stride + LINKS.service] as number;
    let inShort = 0;
    let inLong = 0;
    let failedAll = 0;
    let failedShort = 0;
    let same = 0;
    let open = 0;
    let earliest = t;
    let latest = t;
    let bytes = 0;
    let measured = 0;
    this.#hosts.reset();
    this.#ports.reset();
    for (
      let k = 0, e = entry;
      k < count;
      k++, e = links[e * LINKS.stride + LINKS.previousOfDestination] as number
    ) {
      const n = e * NUMBERS.stride;
      const l = e * LINKS.stride;
      const s = numbers[n + NUMBERS.start] as number;
      const f = links[l + LINKS.failed] as number;
      const both = (numbers[n + NUMBERS.outBytes] as number) + (numbers[n + NUMBERS.inBytes] as number);
      if (s < earliest) earliest = s;
      if (s > latest) latest = s;
      if (Math.abs(s - t) <= longMs) inLong++;
      if (Math.abs(s - t) <= shortMs) {
        inShort++;
        failedShort += f;
      }
      failedAll += f;
      this.#hosts.add(links[l + LINKS.source] as number);
      this.#ports.add(links[l + LINKS.service] as number);
      if (links[l + LINKS.service] === own) same++;
      if (s <= until && (numbers[n + NUMBERS.end] as number) >= t) open++;
      if (both >= 0) {
        bytes += both;
        measured++;
      }
    }
    out[AT.dst_count_short] = inShort;
    out[AT.dst_count_long] = inLong;
    out[AT.dst_count_last] = count;
    out[AT.dst_span_last] = (latest - earliest) / 1000;
    out[AT.dst_sources_last] = this.#hosts.count;
    out[AT.dst_ports_last] = this.#ports.count;
    out[AT.dst_failed_share_short] = failedShort / inShort;
    out[AT.dst_failed_share_last] = failedAll / count;
    out[AT.dst_same_service_share_last] = same / count;
    out[AT.dst_mean_bytes_last] = bytes / measured;
    out[AT.dst_open_last] = open;
  }

  #writePair(entry: number, out: Float64Array): void {
    const { numbers, links } = this.#history;
    const { longMs } = this.#limits;
    const count = this.#length(this.#history.heldByPair(entry));
    const t = numbers[entry * NUMBERS.stride + NUMBERS.start] as number;
    let inLong = 0;
    let failedAll = 0;
    let outBytes = Number.NaN;
    let outBytesLong = Number.NaN;
    let inBytesLong = Number.NaN;
    this.#ports.reset();
    this.#portsLong.reset();
    for (let k = 0, e = entry; k < count; k++, e = links[e * LINKS.stride + LINKS.previousOfPair] as number) {
      const n = e * NUMBERS.stride;
      const l = e * LINKS.stride;
      const o = numbers[n + NUMBERS.outBytes] as number;
      const i = numbers[n + NUMBERS.inBytes] as number;
      failedAll += links[l + LINKS.failed] as number;
      this.#ports.add(links[l + LINKS.service] as number);
      if (o >= 0) outBytes = outBytes >= 0 ? outBytes + o : o;
      if (Math.abs((numbers[n + NUMBERS.start] as number) - t) > longMs) continue;
      inLong++;
      this.#portsLong.add(links[l + LINKS.service] as number);
      if (o >= 0) outBytesLong = outBytesLong >= 0 ? outBytesLong + o : o;
      if (i >= 0) inBytesLong = inBytesLong >= 0 ? inBytesLong + i : i;
    }
    out[AT.pair_count_long] = inLong;
    out[AT.pair_count_last] = count;
    out[AT.pair_ports_long] = this.#portsLong.count;
    out[AT.pair_ports_last] = this.#ports.count;
    out[AT.pair_failed_share_last] = failedAll / count;
    out[AT.pair_out_bytes_long] = outBytesLong;
    out[AT.pair_in_bytes_long] = inBytesLong;
    out[AT.pair_out_bytes_last] = outBytes;
  }

  #writeChannel(entry: number, out: Float64Array): void {
    const { numbers, links, packets } = this.#history;
    const { shortMs, longMs } = this.#limits;
    const count = this.#length(this.#history.heldByChannel(entry));
    const t = numbers[entry * NUMBERS.stride + NUMBERS.start] as number;
    const until = numbers[entry * NUMBERS.stride + NUMBERS.end] as number;
    let inShort = 0;
    let inLong = 0;
    let open = 0;
    let durations = 0;
    let outPackets = Number.NaN;
    let outBytes = 0;
    let inPackets = Number.NaN;
    let inBytes = 0;
    for (
      let k = 0, e = entry;
      k < count;
      k++, e = links[e * LINKS.stride + LINKS.previousOfChannel] as number
    ) {
      const n = e * NUMBERS.stride;
      const s = numbers[n + NUMBERS.start] as number;
      const stop = numbers[n + NUMBERS.end] as number;
      durations += stop > s ? stop - s : 0;
      if (s <= until && stop >= t) open++;
      if (Math.abs(s - t) <= shortMs) inShort++;
      if (Math.abs(s - t) > longMs) continue;
      inLong++;
      const op = packets[e * 2] as number;
      const ob = numbers[n + NUMBERS.outBytes] as number;
      if (op + ob >= 0) {
        outPackets = outPackets >= 0 ? outPackets + op : op;
        outBytes += ob;
      }
      const ip = packets[e * 2 + 1] as number;
      const ib = numbers[n + NUMBERS.inBytes] as number;
      if (ip + ib >= 0) {
        inPackets = inPackets >= 0 ? inPackets + ip : ip;
        inBytes += ib;
      }
    }
    out[AT.channel_count_short] = inShort;
    out[AT.channel_count_long] = inLong;
    out[AT.channel_count_last] = count;
    out[AT.channel_open_last] = open;
    out[AT.channel_mean_duration] = durations / count;
    out[AT.channel_out_packets_long] = outPackets;
    out[AT.channel_out_bytes_per_packet_long] = outPackets === 0 ? 0 : outBytes / outPackets;
    out[AT.channel_in_bytes_per_packet_long] = inPackets === 0 ? 0 : inBytes / inPackets;
    this.#writeRegularity(entry, Math.min(count, this.#limits.intervals), out);
  }

  /**
   * Mean and coefficient of variation (deviation over mean) of the intervals between the sorted starts of the
   * last `count` flows of the channel, and the variation of their bytes. NaN where there are too few.
   */
  #writeRegularity(entry: number, count: number, out: Float64Array): void {
    out[AT.channel_interval_mean] = Number.NaN;
    out[AT.channel_interval_variation] = Number.NaN;
    out[AT.channel_bytes_variation] = Number.NaN;
    if (count < LEAST_STARTS) return;
    const { numbers, links } = this.#history;
    const starts = this.#starts;
    let bytes = 0;
    for (
      let k = 0, e = entry;
      k < count;
      k++, e = links[e * LINKS.stride + LINKS.previousOfChannel] as number
    ) {
      const n = e * NUMBERS.stride;
      // Insertion sort: arrivals are nearly in order, so this is nearly linear.
      const s = numbers[n + NUMBERS.start] as number;
      let at = k;
      while (at > 0 && (starts[at - 1] as number) < s) {
        starts[at] = starts[at - 1] as number;
        at--;
      }
      starts[at] = s;
      bytes += (numbers[n + NUMBERS.outBytes] as number) + (numbers[n + NUMBERS.inBytes] as number);
    }
    const mean = ((starts[0] as number) - (starts[count - 1] as number)) / (count - 1);
    let squares = 0;
    for (let k = 1; k < count; k++) {
      const gap = (starts[k - 1] as number) - (starts[k] as number) - mean;
      squares += gap * gap;
    }
    out[AT.channel_interval_mean] = mean / 1000;
    if (mean > 0) out[AT.channel_interval_variation] = Math.sqrt(squares / (count - 1)) / mean;
    const meanBytes = bytes / count;
    if (!(meanBytes > 0)) return; // a count is missing, or nothing was sent
    let byteSquares = 0;
    for (
      let k = 0, e = entry;
      k < count;
      k++, e = links[e * LINKS.stride + LINKS.previousOfChannel] as number
    ) {
      const n = e * NUMBERS.stride;
      const off =
        (numbers[n + NUMBERS.outBytes] as number) + (numbers[n + NUMBERS.inBytes] as number) - meanBytes;
      byteSquares += off * off;
    }
    out[AT.channel_bytes_variation] = Math.sqrt(byteSquares / count) / meanBytes;
  }

  /** Entries of a chain that a window looks back on: the live ones, up to the limit. */
  #length(held: number): number {
    return held < this.#limits.connections ? held : this.#limits.connections;
  }
}
