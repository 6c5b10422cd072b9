import { GuardianError, type Logger, type Metrics, retryWhere } from '../base/index.ts';
import { type Bus, SealedBus, type SealRefusals } from '../bus/index.ts';
import type { Engine } from '../inference/index.ts';

const JOIN_LATER = { attempts: Number.POSITIVE_INFINITY, firstDelayMs: 1_000, maxDelayMs: 30_000 };
const NONE = { message: 0, request: 0, answer: 0, failure: 0, value: 0, object: 0, replayed: 0 };

/** The engine's way to workers: a bus of its own, which has to be sealed, since weights and rows go over it. */
export class SharedModels {
  readonly #engine: Engine;
  readonly #logger: Logger;
  readonly #closed = new AbortController();
  #bus: Bus | undefined;

  constructor(engine: Engine, logger: Logger, metrics: Metrics) {
    this.#engine = engine;
    this.#logger = logger;
    metrics.counted(
      'bus_refused_total',
      'What came over the bus and did not open under its key, or came again, by kind.',
      'kind',
      () => this.refusals as Readonly<Record<string, number>>,
    );
  }

  get refusals(): SealRefusals {
    return this.#bus instanceof SealedBus ? this.#bus.refusals : NONE;
  }

  /** A bus that is away keeps nobody from serving: it is joined when it answers. Throws where another try would not help. */
  async join(open: () => Promise<Bus>): Promise<void> {
    if (this.#engine.remote === undefined) return;
    const { signal } = this.#closed;
    try {
      await this.#use(await open());
    } catch (error) {
      if (!(error instanceof GuardianError) || !error.retry) throw error;
      this.#logger.error({ code: error.code }, 'workers are joined when the bus answers');
      void retryWhere(open, { ...JOIN_LATER, signal }).then(
        (bus) => this.#use(bus),
        (cause: unknown) => {
          const code = cause instanceof GuardianError ? cause.code : 'unknown';
          if (!signal.aborted) this.#logger.error({ code }, 'workers cannot be joined');
        },
      );
    }
  }

  /** To be called after the engine was closed. */
  async close(): Promise<void> {
    this.#closed.abort();
    await this.#bus?.close().catch(() => {});
  }

  async #use(bus: Bus): Promise<void> {
    if (this.#closed.signal.aborted || !(bus instanceof SealedBus)) {
      await bus.close();
      return;
    }
    this.#bus = bus;
    this.#engine.joinWorkers(bus, this.#logger);
  }
}
