import {
  type Clock,
  type CounterMetric,
  GuardianError,
  type Logger,
  type Measured,
  type Metrics,
  type Milliseconds,
} from '../../base/index.ts';
import type { DetectionQueries, SettingQueries } from '../../storage/index.ts';
import { readDetection } from '../detection.ts';
import type { SinkConfig } from './config.ts';
import { FileSink } from './file-sink.ts';
import type { NoticeSink } from './sink.ts';
import { type LostNotice, SinkLoop, type SinkLoopParts, type SinkStats } from './sink-loop.ts';
import { SyslogSink } from './syslog-sink.ts';
import { WebhookSink } from './webhook-sink.ts';

export interface NoticeDeliveryParts {
  readonly config: readonly SinkConfig[];
  readonly queries: Pick<DetectionQueries, 'listOutbox' | 'countOutbox' | 'lastNotice' | 'forgetNotices'>;
  readonly settings: Pick<SettingQueries, 'get' | 'set'>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Puts into the audit log that a sink will not get a notice. */
  readonly noteLost: (lost: LostNotice) => Promise<void>;
  readonly timing?: Pick<SinkLoopParts, 'sleep' | 'random'>;
}

/**
 * Notices from the outbox to every configured sink, each at its own pace: one that is down holds up no other. A sink begins
 * with what is raised after it was first configured. A notice is forgotten once every sink is done with it.
 */
export class NoticeDelivery {
  readonly #parts: NoticeDeliveryParts;
  readonly #sinks = new Map<string, { readonly sink: NoticeSink; readonly loop: SinkLoop }>();

  #results: CounterMetric | undefined;

  constructor(parts: NoticeDeliveryParts) {
    this.#parts = parts;
  }

  /** Registers what the sinks do, and how far each is behind. */
  observe(metrics: Metrics): void {
    this.#results = metrics.counter(
      'notices_total',
      'Tries to bring a notice to a sink: delivered, retried, or given up because refused or expired.',
      ['sink', 'result'],
    );
    const measured = (name: string, help: string, read: (loop: SinkLoop) => Promise<number>): void => {
      metrics.measured(name, help, ['sink'], async () => {
        const found: Measured[] = [];
        for (const [sink, { loop }] of this.#sinks) found.push({ labels: { sink }, value: await read(loop) });
        return found;
      });
    };
    const { queries } = this.#parts;
    measured('notices_waiting', 'Notices that a sink does not have yet.', ({ cursor }) =>
      queries.countOutbox(cursor),
    );
    measured(
      'notices_lag_seconds',
      'Age of the oldest notice that a sink does not have yet.',
      async (loop) => (await this.#lagOf(loop)) / 1_000,
    );
  }

  get isRunning(): boolean {
    return this.#sinks.size > 0;
  }

  /** By name of the sink. */
  get stats(): Readonly<Record<string, SinkStats>> {
    return Object.fromEntries([...this.#sinks].map(([name, { loop }]) => [name, loop.stats]));
  }

  /** Opens every sink and goes on where it was. Throws `alerts.secret-unusable`, and what a file that cannot be opened throws. */
  async start(): Promise<void> {
    const { config, queries, settings, clock, logger, timing } = this.#parts;
    if (this.isRunning) return;
    const opened = await openAll(config, clock);
    for (const [i, sink] of opened.entries()) {
      const { name, maxBackoffMs, giveUpAfterMs } = config[i] as SinkConfig;
      const kept = await settings.get(cursorKey(name));
      const cursor = typeof kept === 'number' ? kept : await queries.lastNotice();
      if (kept === undefined) await settings.set(cursorKey(name), cursor);
      const loop = new SinkLoop(
        {
          ...{ sink, maxBackoffMs, giveUpAfterMs, clock, ...timing },
          list: (after, limit) => queries.listOutbox({ after, limit }),
          keep: (reached) => this.#keep(name, reached),
          noteLost: this.#parts.noteLost,
          onResult: (result) => this.#results?.add({ sink: name, result }),
          onFailure: (error) => {
            const code = error instanceof GuardianError ? error.code : 'unknown';
            const reason = error instanceof GuardianError ? error.message : 'an unexpected fault';
            logger.warn({ sink: name, code, reason }, 'notices wait for their receiver');
          },
        },
        cursor,
      );
      this.#sinks.set(name, { sink, loop });
    }
    this.wake();
  }

  /** New notices are stored. */
  wake(): void {
    for (const { loop } of this.#sinks.values()) loop.wake();
  }

  /** Resolves when no sink has anything to do. */
  async idle(): Promise<void> {
    await Promise.all([...this.#sinks.values()].map(({ loop }) => loop.idle()));
  }

  /** Reads secrets anew and opens files again. Throws the first failure, after every sink was asked; it stays as it was. */
  async reload(): Promise<void> {
    const asked = await Promise.allSettled([...this.#sinks.values()].map(({ sink }) => sink.reload?.()));
    for (const answer of asked) if (answer.status === 'rejected') throw answer.reason;
    this.wake();
  }

  /** Calls off what is under way; it is sent after the next start. */
  async close(): Promise<void> {
    const closing = [...this.#sinks.values()].map(({ loop }) => loop.close());
    this.#sinks.clear();
    await Promise.all(closing);
  }

  /** 0 where nothing waits, or what waits cannot be read. */
  async #lagOf({ cursor }: SinkLoop): Promise<Milliseconds> {
    const { queries, clock } = this.#parts;
    const [oldest] = await queries.listOutbox({ after: cursor, limit: 1 });
    if (oldest === undefined) return 0;
    try {
      return Math.max(0, clock.now() - readDetection(oldest.detection).modifiedMs);
    } catch {
      return 0;
    }
  }

  async #keep(name: string, reached: number): Promise<void> {
    const { settings, queries } = this.#parts;
    await settings.set(cursorKey(name), reached);
    const others = [...this.#sinks].filter(([other]) => other !== name);
    await queries.forgetNotices(Math.min(reached, ...others.map(([, { loop }]) => loop.cursor)));
  }
}

async function openAll(config: readonly SinkConfig[], clock: Clock): Promise<readonly NoticeSink[]> {
  const opened: NoticeSink[] = [];
  try {
    for (const each of config) opened.push(await openSink(each, clock));
    return opened;
  } catch (error) {
    for (const sink of opened) await sink.close();
    throw error;
  }
}

function openSink(config: SinkConfig, clock: Clock): Promise<NoticeSink> {
  switch (config.type) {
    case 'webhook':
      return WebhookSink.open(config, clock);
    case 'syslog':
      return SyslogSink.open(config);
    case 'file':
      return FileSink.open(config);
    default:
      return config satisfies never;
  }
}

function cursorKey(name: string): string {
  return `alerts.sink.${name}`;
}
