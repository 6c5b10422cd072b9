import type { Clock } from '../base/index.ts';
import type { AuditLog } from './audit-log.ts';

/** Something that was refused. */
export interface Denial {
  readonly principal: string;
  /** A stable code: `server.forbidden`. */
  readonly reason: string;
  readonly action: string;
  readonly subject: string;
}

export interface DenialCollapserOptions {
  readonly log: AuditLog;
  readonly clock: Clock;
  /** Distinct principal and reason pairs a second; denials beyond are counted under one name. */
  readonly maxKeys?: number;
  /** Told when denials could not be logged; they are kept and tried again with the next. */
  readonly onError?: (error: unknown) => void;
}

interface Collapsed {
  readonly denial: Denial;
  readonly second: number;
  count: number;
}

const SECOND_MS = 1000;
export const DEFAULT_MAX_DENIAL_KEYS = 256;

/**
 * Logs denials as one entry per principal, reason and second, with a count and the first one's action and subject,
 * so that strangers cannot fill the disk. An entry is written when its second is over, and at close.
 */
export class DenialCollapser {
  readonly #options: DenialCollapserOptions;
  #pending = new Map<string, Collapsed>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: DenialCollapserOptions) {
    this.#options = options;
  }

  /** Counts a denial. Never throws and never waits. */
  deny(denial: Denial): void {
    const second = Math.floor(this.#options.clock.now() / SECOND_MS);
    const { principal, reason } = denial;
    const key = JSON.stringify([second, principal, reason]);
    const known = this.#pending.get(key);
    if (known !== undefined) {
      known.count++;
      return;
    }
    if (this.#pending.size >= (this.#options.maxKeys ?? DEFAULT_MAX_DENIAL_KEYS)) {
      this.#countOther(second, denial);
    } else {
      this.#pending.set(key, { denial, second, count: 1 });
    }
    this.#arm();
  }

  /** Logs everything counted so far; resolves when it is durable. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const pending = this.#pending;
    this.#pending = new Map();
    const written = [...pending].map(async ([key, collapsed]) => {
      try {
        await this.#append(collapsed);
      } catch (error) {
        const since = this.#pending.get(key);
        if (since === undefined) this.#pending.set(key, collapsed);
        else since.count += collapsed.count;
        throw error;
      }
    });
    const failed = (await Promise.allSettled(written)).find((each) => each.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  /** Logs what is left. */
  close(): Promise<void> {
    return this.flush();
  }

  /** One more key for the rest, so that a stranger who makes up principals cannot grow the table. */
  #countOther(second: number, { reason }: Denial): void {
    const key = 'others';
    const known = this.#pending.get(key);
    if (known !== undefined) known.count++;
    else {
      const denial = { principal: '(others)', reason, action: '(several)', subject: '(several)' };
      this.#pending.set(key, { denial, second, count: 1 });
    }
  }

  #append({ denial, second, count }: Collapsed): Promise<number> {
    const { action, principal, subject, reason } = denial;
    return this.#options.log.append({
      kind: 'event',
      action,
      principal: wellFormed(principal),
      subject: wellFormed(subject),
      detail: { denied: true, count, second: new Date(second * SECOND_MS).toISOString() },
      reason,
    });
  }

  #arm(): void {
    this.#timer ??= setTimeout(() => {
      this.flush().catch((error: unknown) => {
        this.#options.onError?.(error);
        this.#arm();
      });
    }, SECOND_MS).unref();
  }
}

/** Names of strangers are hostile text: cut, and without what JSON cannot hold. */
function wellFormed(text: string): string {
  return text.slice(0, 256).toWellFormed();
}
