import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { isIPv6 } from 'node:net';
import { type Bytes, type Clock, systemClock } from '../../base/index.ts';
import { parseAddress } from '../address.ts';
import { countFlow, countName, newCounters } from '../counters.ts';
import { TrafficError } from '../errors.ts';
import type { FlowRecord, SourceCounters } from '../flow.ts';
import { FlowBatch } from '../flow-batch.ts';
import { FlowPairing, type PairingOptions } from '../flow-pairing.ts';
import type { FlowSource } from '../flow-source.ts';
import { stopAtAbort } from '../until-aborted.ts';
import { type CollectorAddress, parseCollectorAddress } from './collector-address.ts';
import type { Domain } from './domain-table.ts';
import { flowFromRecord } from './flow-from-record.ts';
import { MessageDecoder } from './message-decoder.ts';
import { MessageQueue } from './message-queue.ts';
import type { NetflowLimits } from './netflow-limits.ts';
import { readSocketDrops } from './socket-drops.ts';

export interface CollectorOptions {
  readonly limits: Partial<NetflowLimits>;
  readonly pairing: Partial<PairingOptions>;
  /** Messages between the socket and the consumer. */
  readonly maxQueuedMessages: number;
  readonly maxQueuedBytes: Bytes;
  /** Receive buffer of the socket where the address names none; the system may grant less (net.core.rmem_max). */
  readonly receiveBuffer: Bytes;
  readonly clock: Clock;
}

export const COLLECTOR_DEFAULTS: CollectorOptions = {
  limits: {},
  pairing: {},
  maxQueuedMessages: 65_536,
  maxQueuedBytes: 1 << 25,
  receiveBuffer: 1 << 22,
  clock: systemClock,
};

/** How one observation domain of an exporter does, for whoever watches the exporters. */
export type ExporterReport = Pick<
  Domain,
  'exporter' | 'version' | 'id' | 'messages' | 'records' | 'lost' | 'samplingInterval'
>;

/** Flows handed out at once, at most. */
const BATCH = 4096;
/** How often flows that wait for their other direction are looked at. */
const TICK_MS = 1000;

/**
 * Listens for NetFlow v5 and v9, or IPFIX, at an address in the form that `parseCollectorAddress` reads. Throws
 * `traffic.collector-address-invalid` and `traffic.collector-bind-failed`.
 */
export async function openCollector(
  source: string,
  options: Partial<CollectorOptions> = {},
): Promise<NetflowSource> {
  const address = parseCollectorAddress(source);
  const { host, port } = address;
  const recvBufferSize = address.receiveBuffer ?? options.receiveBuffer ?? COLLECTOR_DEFAULTS.receiveBuffer;
  const socket = createSocket({ type: isIPv6(host) ? 'udp6' : 'udp4', recvBufferSize });
  try {
    socket.bind(port, host);
    await once(socket, 'listening');
  } catch (cause) {
    socket.close();
    throw new TrafficError('traffic.collector-bind-failed', `expected to listen at ${host} port ${port}`, {
      cause,
    });
  }
  return new NetflowSource(socket, address, options);
}

/**
 * Flows that exporters send over UDP. Records of one direction wait for the other one (`FlowPairing`), by the time
 * of their receipt, so that no exporter's clock can empty the table or fill it. What is lost is counted in
 * `counters.lost`: `netflow-sequence` by the exporters' sequence numbers, `collector-queue` where the consumer was too
 * slow, `socket` in the system's buffer (where it tells). `counters.ignored['netflow-foreign-exporter']` are
 * messages from addresses that are not allowed. Ends when the signal aborts.
 */
export class NetflowSource implements FlowSource {
  readonly kind: 'netflow' | 'ipfix';
  readonly isEndless = true;
  readonly counters: SourceCounters = newCounters();
  readonly #socket: Socket;
  readonly #queue: MessageQueue;
  readonly #clock: Clock;
  readonly #decoder: MessageDecoder;
  readonly #pairing: FlowPairing;
  readonly #allow: ReadonlySet<string> | undefined;
  #ready: FlowRecord[] = [];
  #nowMs = 0;
  #session = '';
  #dropsReadMs = Number.NEGATIVE_INFINITY;

  /** `socket` is bound, and is closed by the source. */
  constructor(socket: Socket, address: CollectorAddress, options: Partial<CollectorOptions> = {}) {
    const { limits, pairing, maxQueuedMessages, maxQueuedBytes, clock } = {
      ...COLLECTOR_DEFAULTS,
      ...options,
    };
    this.kind = address.protocol;
    this.#socket = socket;
    this.#allow = address.allow;
    this.#clock = clock;
    this.#queue = new MessageQueue(maxQueuedMessages, maxQueuedBytes);
    this.#pairing = new FlowPairing(pairing, this.counters);
    const versions = this.kind === 'netflow' ? [5, 9] : [10];
    this.#decoder = new MessageDecoder(
      versions,
      (values, origin) => {
        const exported = flowFromRecord(values, origin);
        if (typeof exported === 'string') countName(this.counters.malformed, exported);
        else if (exported.isOneWay)
          this.#pairing.add(exported.flow, `${this.#session} ${origin.domain.id}`, this.#nowMs);
        else this.#ready.push(exported.flow);
      },
      this.counters,
      limits,
    );
    socket.on('message', (bytes, from) => this.#receive(bytes, from));
    // An ICMP error for something we never sent, or a broken interface: the next message may come all the same.
    socket.on('error', () => countName(this.counters.malformed, 'collector-socket-error'));
  }

  /** The port that is listened at. */
  get port(): number {
    return this.#socket.address().port;
  }

  /** Every observation domain that is known, the one heard of last at the end. */
  exporters(): ExporterReport[] {
    return Array.from(
      this.#decoder.domains,
      ({ exporter, version, id, messages, records, lost, samplingInterval }) => ({
        exporter,
        version,
        id,
        messages,
        records,
        lost,
        samplingInterval,
      }),
    );
  }

  async *batches(signal?: AbortSignal): AsyncGenerator<FlowBatch> {
    yield* stopAtAbort({ stop: () => this.#close() }, this.#collect(), signal);
  }

  async *#collect(): AsyncGenerator<FlowBatch> {
    for (let isLast = false; !isLast; ) {
      isLast = this.#queue.isClosed;
      for (const message of await this.#queue.take(TICK_MS)) {
        this.#nowMs = message.receivedMs;
        this.#session = `${message.exporter} ${message.session}`;
        this.#decoder.decode(message);
        if (this.#ready.length >= BATCH) yield* this.#handOut();
      }
      this.#pairing.advance(this.#clock.monotonic());
      await this.#countDrops();
      yield* this.#handOut();
    }
    this.#ready.push(...this.#pairing.finish());
    yield* this.#handOut();
  }

  #receive(bytes: Uint8Array, from: RemoteInfo): void {
    const exporter = parseAddress(from.address.replace(/%.*$/, ''))?.text ?? from.address;
    if (this.#allow !== undefined && !this.#allow.has(exporter)) {
      countName(this.counters.ignored, 'netflow-foreign-exporter');
      return;
    }
    const message = { bytes, exporter, session: String(from.port), receivedMs: this.#clock.monotonic() };
    if (!this.#queue.push(message)) countName(this.counters.lost, 'collector-queue');
  }

  *#handOut(): Generator<FlowBatch> {
    this.#ready.push(...this.#pairing.drain());
    const flows = this.#ready;
    this.#ready = [];
    for (const flow of flows) countFlow(this.counters, flow);
    for (let from = 0; from < flows.length; from += BATCH) {
      yield* FlowBatch.runsOf(flows.slice(from, from + BATCH));
    }
  }

  async #countDrops(): Promise<void> {
    const now = this.#clock.monotonic();
    if (this.#queue.isClosed || now - this.#dropsReadMs < TICK_MS) return;
    this.#dropsReadMs = now;
    const drops = await readSocketDrops(this.#socket.address());
    if (drops > 0) this.counters.lost.socket = drops;
  }

  #close(): void {
    if (this.#queue.isClosed) return;
    this.#queue.close();
    this.#socket.close();
  }
}
