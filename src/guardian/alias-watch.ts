import { setTimeout } from 'node:timers/promises';
import { GuardianError, type Logger, type Milliseconds, retryWhere } from '../base/index.ts';
import type { Bus } from '../bus/index.ts';
import type { AliasChange } from '../registry/index.ts';

export interface AliasWatchParts {
  /** Names whose model was loaded by an alias. */
  readonly followed: () => Iterable<string>;
  /** Reads the alias of a name again and, where it points elsewhere, verifies and puts in place what it points at. */
  readonly follow: (name: string) => Promise<void>;
  readonly logger: Logger;
  /** Between two looks; null where nobody else can move an alias. */
  readonly everyMs: Milliseconds | null;
}

/** How often an engine looks whose database others write to. */
export const LOOK_EVERY_MS: Milliseconds = 2_000;
const PREFIX = 'aliases';
/** Until a bus that does not answer is asked for its hints again. */
const LISTEN_AGAIN_MS: Milliseconds = 2_000;
/** How long an announcement that is under way is waited for at the end. */
const TELL_MS: Milliseconds = 1_000;
const JOIN_LATER = { attempts: Number.POSITIVE_INFINITY, firstDelayMs: 1_000, maxDelayMs: 30_000 };

/**
 * Keeps what serves in step with the aliases. A message on the bus is a hint and no more: it names what to read again, and
 * what is read is believed as always, by the log and by verification. Hints may be lost; so one looks besides.
 */
export class AliasWatch {
  readonly #parts: AliasWatchParts;
  readonly #closed = new AbortController();
  /** Names that a hint spoke of since their last turn: a flood of hints is one look. */
  readonly #due = new Set<string>();
  readonly #told = new Map<string, string>();
  #bus: Bus | undefined;
  #timer: NodeJS.Timeout | undefined;
  #work: Promise<void> = Promise.resolve();
  #listening: Promise<void> = Promise.resolve();
  #announcing: Promise<void> = Promise.resolve();

  constructor(parts: AliasWatchParts) {
    this.#parts = parts;
    if (parts.everyMs === null) return;
    this.#timer = setInterval(() => void this.look(), parts.everyMs).unref();
  }

  /**
   * Hears the hints of others from now on, and gives them ours. A bus that is away keeps nobody from serving: it is joined
   * when it answers. Throws what `open` throws where another try would not help.
   */
  async join(open: () => Promise<Bus>): Promise<void> {
    const { signal } = this.#closed;
    try {
      this.#listen(await open());
    } catch (error) {
      if (!(error instanceof GuardianError) || !error.retry) throw error;
      this.#tell(PREFIX, error, 'the bus is away; it is joined when it answers');
      void retryWhere(open, { ...JOIN_LATER, signal }).then(
        (bus) => this.#listen(bus),
        (cause: unknown) => this.#tell(PREFIX, cause, 'the bus could not be joined'),
      );
    }
  }

  /**
   * Tells the others of a move; resolves when they are told, or cannot be. That is no reason to undo it, nor for anybody to wait:
   * they look besides.
   */
  announce(change: AliasChange): Promise<void> {
    const told = Promise.all([this.#announcing, this.#announce(change)]).then(() => {});
    this.#announcing = told;
    return told;
  }

  async #announce({ name, alias, version, intent }: AliasChange): Promise<void> {
    const bus = this.#bus;
    if (bus === undefined) return;
    const hint = Buffer.from(JSON.stringify({ name, alias, version, intent }));
    try {
      await retryWhere(() => bus.put(`${PREFIX}.${name}.${alias}`, hint), { attempts: 3 });
    } catch (error) {
      this.#tell(name, error, 'other engines could not be told of a move');
    }
  }

  /** Reads the alias of each name that is followed. */
  look(): Promise<void> {
    for (const name of this.#parts.followed()) this.#due.add(name);
    return this.#turn();
  }

  /** Resolves when nothing is under way. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#closed.abort();
    // A command that moved an alias ends at once: what it has to tell takes a moment.
    const told = new AbortController();
    const late = setTimeout(TELL_MS, undefined, { signal: told.signal }).catch(() => {});
    await Promise.race([this.#announcing, late]);
    told.abort();
    await this.#bus?.close().catch(() => {});
    await this.#listening;
    await this.#work;
  }

  #listen(bus: Bus): void {
    if (this.#closed.signal.aborted) {
      void bus.close().catch(() => {});
      return;
    }
    this.#bus = bus;
    this.#listening = this.#hear(bus);
  }

  async #hear(bus: Bus): Promise<void> {
    const { signal } = this.#closed;
    while (!signal.aborted) {
      try {
        for await (const { key } of bus.watch(PREFIX, signal)) {
          const [, name = ''] = key.split('.');
          this.#due.add(name);
          void this.#turn();
        }
        return;
      } catch (error) {
        this.#tell(PREFIX, error, 'hints of moves cannot be heard; the bus is asked again');
        // Ends early where the watch is closed; that is no error.
        await setTimeout(LISTEN_AGAIN_MS, undefined, { signal, ref: false }).catch(() => {});
      }
    }
  }

  /** One name at a time, and behind what is under way. */
  #turn(): Promise<void> {
    this.#work = this.#work.then(async () => {
      const due = [...this.#due];
      this.#due.clear();
      const followed = new Set(this.#parts.followed());
      for (const name of due) {
        if (!followed.has(name) || this.#closed.signal.aborted) continue;
        try {
          await this.#parts.follow(name);
          this.#told.delete(name);
        } catch (error) {
          this.#tell(name, error, 'a move could not be followed; what served goes on');
        }
      }
    });
    return this.#work;
  }

  /** Once for each name and reason: a look every two seconds must not fill the log. */
  #tell(name: string, error: unknown, what: string): void {
    const code = error instanceof GuardianError ? error.code : 'unknown';
    if (this.#told.get(name) === code) return;
    this.#told.set(name, code);
    this.#parts.logger.error({ code, name }, what);
  }
}
