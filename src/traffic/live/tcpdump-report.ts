import { TrafficError, type TrafficErrorCode } from '../errors.ts';

/** What each complaint of tcpdump means to us; the first that fits. */
const COMPLAINTS: readonly (readonly [RegExp, TrafficErrorCode])[] = [
  [/permission|not permitted|you don't have/i, 'traffic.capture-denied'],
  [/no such device|doesn't exist|does not exist/i, 'traffic.interface-missing'],
  [/interface disappeared|went down|network is down|device is not up/i, 'traffic.interface-gone'],
  [
    /filter expression|syntax error|expression rejected|unknown (host|network|port)/i,
    'traffic.filter-invalid',
  ],
];

const COUNTED = /(\d+) packets? (captured|received by filter|dropped by kernel|dropped by interface)/g;
const PLACES: Readonly<Record<string, string>> = {
  'dropped by kernel': 'kernel',
  'dropped by interface': 'interface',
};
const MAX_TAIL = 4096;

/** Reads what tcpdump says on its standard error: that it listens, what was dropped, why it ended. */
export class TcpdumpReport {
  /** Packets dropped so far, by who dropped them, as of the last report. */
  readonly #lost: Record<string, number>;
  #tail = '';

  /** The latest count of each kind, by tcpdump's words. */
  readonly #counts: Record<string, number> = {};

  /** `lost` is written to: `kernel`, `interface`, `unread`. */
  constructor(lost: Record<string, number>) {
    this.#lost = lost;
  }

  /** Whether the capture has begun. */
  get isListening(): boolean {
    return /listening on /.test(this.#tail);
  }

  push(text: string): void {
    this.#tail = (this.#tail + text).slice(-MAX_TAIL);
    const end = this.#tail.lastIndexOf('\n') + 1;
    // Only whole lines: a number may be cut in the middle.
    for (const [, count, kind = ''] of this.#tail.slice(0, end).matchAll(COUNTED)) {
      this.#counts[kind] = Number(count);
      const place = PLACES[kind];
      if (place !== undefined && Number(count) > 0) this.#lost[place] = Number(count);
    }
  }

  /** To be called when tcpdump has ended: what the kernel held for it by then is lost, too, as `unread`. */
  settle(): void {
    const {
      captured = 0,
      'received by filter': received = 0,
      'dropped by kernel': dropped = 0,
    } = this.#counts;
    // The kernel counts what it dropped among what it received.
    const unread = received - captured - dropped;
    if (unread > 0) this.#lost.unread = unread;
  }

  /** The error for an end that nobody asked for. */
  failure(name: string): TrafficError {
    const lines = this.#tail.split('\n').filter((line) => line.startsWith('tcpdump: '));
    const said = (
      lines.filter((line) => !/listening on|dropping privs/.test(line)).at(-1) ?? 'tcpdump: ended'
    )
      .slice('tcpdump: '.length)
      .replace(/[^\x20-\x7e]/g, '?');
    const code = COMPLAINTS.find(([pattern]) => pattern.test(said))?.[1] ?? 'traffic.capture-failed';
    return new TrafficError(code, `capturing on ${name}: ${said}`);
  }
}
