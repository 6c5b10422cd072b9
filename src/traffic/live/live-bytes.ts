import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, readFileSync } from 'node:fs';
import type { Bytes, Milliseconds } from '../../base/index.ts';
import type { ByteSource } from '../byte-source.ts';
import { TrafficError } from '../errors.ts';
import { interfaceNames } from './interfaces.ts';
import { openPipe, type PacedReader } from './paced-pipe.ts';
import { TcpdumpReport } from './tcpdump-report.ts';

type Chunk = Uint8Array<ArrayBuffer>;

export interface LiveOptions {
  /** Filter in pcap-filter(7) syntax; everything by default. */
  readonly filter?: string;
  /** Bytes captured of each packet. */
  readonly snapLength: Bytes;
  /** Buffer in the kernel: what fits while we are slow is not lost. */
  readonly bufferBytes: Bytes;
  /** The program, found in PATH. */
  readonly program: string;
  /** Told, when the interface is open, which user tcpdump has become; undefined where it keeps our rights. */
  readonly onListening?: (user: string | undefined) => void;
}

export const LIVE_DEFAULTS: LiveOptions = {
  snapLength: 262_144,
  bufferBytes: 64 << 20,
  program: 'tcpdump',
};

/** Users without rights that tcpdump becomes once the interface is open, the first that exists. */
const USERS = ['tcpdump', 'pcap', 'nobody'];
const SILENCE: Milliseconds = 1_000;
const STATISTICS_EVERY: Milliseconds = 5_000;
const MAX_FILTER = 4_096;

/**
 * Captures on an interface by a tcpdump of our own, which gives up its rights when the interface is open. `chunks` is
 * the pcap stream it writes; an empty chunk says that a second passed without a byte. While nobody reads, the pipe
 * fills, then the kernel's buffer, then the kernel drops: `lost` says how many, by who dropped them (`kernel`,
 * `interface`), at least every 5 s and at the end. `stop` ends tcpdump; what it had captured still comes, and what the
 * kernel still held for it is counted (`unread`).
 *
 * Throws `traffic.capture-tool-missing`, `traffic.interface-missing`, `traffic.capture-denied`,
 * `traffic.filter-invalid`; reading throws `traffic.interface-gone` and `traffic.capture-failed`.
 */
export async function openInterface(
  name: string,
  lost: Record<string, number>,
  options: Partial<LiveOptions> = {},
): Promise<ByteSource> {
  const given = { ...LIVE_DEFAULTS, ...options };
  checkName(name);
  const { writer, reader } = await openPipe();
  let child: ChildProcess;
  try {
    child = spawn(given.program, tcpdumpArguments(name, given), {
      stdio: ['ignore', writer, 'pipe'],
      // Ctrl-C goes to us, who end it: it must not lose what it holds.
      detached: true,
      env: { PATH: process.env.PATH ?? '', LC_ALL: 'C' },
    });
    const report = new TcpdumpReport(lost);
    const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
    await listening(child, report, name, given.program);
    given.onListening?.(captureUser());
    const live = new LiveCapture({ child, report, name, ended, reader });
    return { head: new Uint8Array(0), chunks: live, stop: () => live.stop(), lingers: true };
  } catch (error) {
    reader.close();
    throw error;
  } finally {
    closeSync(writer);
  }
}

/** The user that a tcpdump started by us becomes; undefined where we are not root and it has no rights to give up. */
function captureUser(): string | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const known = new Set(
    readFileSync('/etc/passwd', 'utf8')
      .split('\n')
      .map((line) => line.split(':', 1)[0]),
  );
  return USERS.find((user) => known.has(user));
}

function checkName(name: string): void {
  const known = interfaceNames();
  if (name === 'any' || known.includes(name)) return;
  throw new TrafficError(
    'traffic.interface-missing',
    `there is no interface ${JSON.stringify(name)}; there are ${known.join(', ')}`,
  );
}

function tcpdumpArguments(name: string, { filter, snapLength, bufferBytes }: LiveOptions): string[] {
  const user = captureUser();
  const kibibytes = Math.max(1, Math.ceil(bufferBytes / 1024));
  return [
    // -U writes each packet when it comes. To have it write a buffer at a signal would cost less, but its handler may
    // interrupt a write half way, and a stream without marks is lost then.
    ...['-i', name, '-U', '-w', '-', '-n', '-s', String(snapLength), '-B', String(kibibytes)],
    ...['--time-stamp-precision=nano'],
    ...(user === undefined ? [] : ['-Z', user]),
    ...(filter === undefined ? [] : ['--', checkedFilter(filter)]),
  ];
}

/** One argument and never a shell's; tcpdump itself says whether it is a filter. */
function checkedFilter(filter: string): string {
  if (filter.length > MAX_FILTER || !/^[\x20-\x7e]+$/.test(filter) || /^\s*-/.test(filter)) {
    throw new TrafficError(
      'traffic.filter-invalid',
      `expected a filter of 1 to ${MAX_FILTER} printable characters that does not begin with a dash`,
    );
  }
  return filter;
}

/** Resolves when tcpdump says that it listens. */
async function listening(
  child: ChildProcess,
  report: TcpdumpReport,
  name: string,
  program: string,
): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    child.once('error', (cause) =>
      reject(
        new TrafficError('traffic.capture-tool-missing', `capturing needs the program ${program}`, { cause }),
      ),
    );
    child.once('close', () => reject(report.failure(name)));
    child.stderr?.setEncoding('latin1').on('data', (text: string) => {
      report.push(text);
      if (report.isListening) resolve();
    });
  });
}

interface LiveParts {
  readonly child: ChildProcess;
  readonly report: TcpdumpReport;
  readonly name: string;
  /** Resolves when the child is gone and its last words were read. */
  readonly ended: Promise<void>;
  readonly reader: PacedReader;
}

class LiveCapture implements AsyncIterable<Chunk> {
  readonly #parts: LiveParts;
  #isStopped = false;

  constructor(parts: LiveParts) {
    this.#parts = parts;
  }

  /** Ends tcpdump, which then writes out what it holds and says what was dropped. */
  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#signal('SIGINT');
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Chunk> {
    const { reader, report, name, ended } = this.#parts;
    const statistics = setInterval(() => this.#signal('SIGUSR1'), STATISTICS_EVERY);
    try {
      for (;;) {
        const chunk = await reader.read(SILENCE);
        if (chunk === undefined) break;
        yield chunk === 'silent' ? new Uint8Array(0) : chunk;
      }
      await ended;
      if (!this.#isStopped) throw report.failure(name);
    } finally {
      clearInterval(statistics);
      await this.#end();
    }
  }

  /** For a reader that goes away early, too: nobody takes the rest. */
  async #end(): Promise<void> {
    this.stop();
    this.#parts.reader.close();
    const patience = setTimeout(() => this.#signal('SIGKILL'), 2_000);
    await this.#parts.ended;
    clearTimeout(patience);
    this.#parts.report.settle();
  }

  #signal(signal: NodeJS.Signals): void {
    const { pid, exitCode, signalCode } = this.#parts.child;
    // By its own id, and only while it lives: an id is given anew.
    if (pid === undefined || exitCode !== null || signalCode !== null) return;
    this.#parts.child.kill(signal);
  }
}
