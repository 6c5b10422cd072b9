import type { AuditLog } from '../audit/index.ts';
import { type CounterMetric, GuardianError, type Logger, type Metrics } from '../base/index.ts';
import {
  BREAKER_STATES,
  type Engine,
  type NoteModelHealth,
  type NoteRolloutEnd,
  type RolloutReport,
} from '../inference/index.ts';

const ACTOR = 'system';

/**
 * Puts into the audit log, in order, that a model is no longer asked, that it is asked again, and that a rollout ended by
 * itself. A probe that fails says nothing new and makes no entry, so that a broken model does not fill the log.
 */
export class ModelNotes {
  readonly #log: AuditLog;
  readonly #logger: Logger;
  /** Those that are out of service, as the log knows it. */
  readonly #out = new Set<string>();
  #changes: CounterMetric | undefined;
  #last: Promise<unknown> = Promise.resolve();

  constructor(log: AuditLog, logger: Logger) {
    this.#log = log;
    this.#logger = logger;
  }

  observe(metrics: Metrics, engine: Engine): void {
    this.#changes = metrics.counter(
      'inference_breaker_changes_total',
      'Changes of the breakers of models, by the state they came to and the cause.',
      ['state', 'cause'],
    );
    const { models } = engine;
    const worst = () => Math.max(0, ...models.health().map(({ state }) => BREAKER_STATES.indexOf(state)));
    metrics.gauge(
      'inference_breaker_state',
      'The worst breaker of the models that may be asked: 0 closed, 1 half-open, 2 open, 3 withdrawn.',
      worst,
    );
    for (const [name, about] of Object.entries(CACHE_GAUGES)) {
      const read = () => models.cacheStats[name as keyof typeof CACHE_GAUGES];
      metrics.gauge(`inference_model_cache_${name.toLowerCase()}`, about, read);
    }
    metrics.gauge(
      'inference_rollouts_running',
      'Versions that run beside a champion.',
      () => [...models.rollouts.running()].length,
    );
  }

  readonly health: NoteModelHealth = ({ model, from, to, cause, counts }) => {
    this.#changes?.add({ state: to, cause: cause ?? 'none' });
    const subject = `${model.name}@${model.version}`;
    const isOut = to === 'open' || to === 'withdrawn';
    const detail = { digest: model.digest, from, to, cause: cause ?? null, counts };
    if (isOut && (!this.#out.has(subject) || to === 'withdrawn')) {
      this.#out.add(subject);
      this.#append(() =>
        this.#log.append({ kind: 'event', action: 'model.withdraw', principal: ACTOR, subject, detail }),
      );
    } else if (to === 'closed' && this.#out.delete(subject)) {
      this.#append(() =>
        this.#log.append({ kind: 'event', action: 'model.restore', principal: ACTOR, subject, detail }),
      );
    }
  };

  readonly rolloutEnd: NoteRolloutEnd = (report) => {
    this.#append(() =>
      this.#log.append({
        ...{ kind: 'event', action: 'model.rollout-end', principal: ACTOR },
        ...{ subject: `${report.name}@${report.candidate.version}`, detail: endDetail(report) },
      }),
    );
  };

  /** Resolves when what was noted so far is in the log. */
  async settled(): Promise<void> {
    await this.#last;
  }

  /** A model that is loaded anew begins with a clean slate. */
  loaded(name: string, version: string): void {
    this.#out.delete(`${name}@${version}`);
  }

  #append(append: () => Promise<unknown>): void {
    this.#last = this.#last.then(append).catch((error: unknown) => {
      const code = error instanceof GuardianError ? error.code : 'unknown';
      this.#logger.error({ code }, 'a change of a model in service could not be noted');
    });
  }
}

/** What the log holds of a rollout that ended. */
export function endDetail(report: RolloutReport) {
  const { kind, percent, startedBy, startedAt, endedBecause, comparedRows, agreed, scorePsi } = report;
  const { champion, candidate, droppedRows } = report;
  return {
    ...{ kind, percent, startedBy, startedAt, because: endedBecause, champion: champion.version },
    ...{ decidedRows: candidate.decidedRows, comparedRows, droppedRows, agreed, scorePsi },
    errors: candidate.errors,
  };
}

const CACHE_GAUGES = {
  models: 'Models at hand.',
  bytes: 'Memory of the models at hand, as measured when they were taken in.',
  hits: 'Versions asked for that were at hand, since the start.',
  misses: 'Versions asked for that were not, since the start.',
  evictions: 'Models that had to go for memory, since the start.',
} as const;
