import type { AuditLog } from '../audit/index.ts';
import { type CounterMetric, GuardianError, type Logger, type Metrics } from '../base/index.ts';
import { Adwin, type Score } from '../models/index.ts';

/** Windows at once, of a model version and source kind each; the one unused longest goes. */
const MAX_WINDOWS = 64;
const ACTOR = 'system';

/** Says when the mean of the live scores of a model changes, for each kind of source: counted, and put into the audit log. */
export class ScoreDrift {
  readonly #log: AuditLog;
  readonly #logger: Logger;
  readonly #windows = new Map<string, Adwin>();
  readonly #changes: CounterMetric;
  #last: Promise<unknown> = Promise.resolve();

  constructor(log: AuditLog, logger: Logger, metrics: Metrics) {
    this.#log = log;
    this.#logger = logger;
    this.#changes = metrics.counter(
      'score_drift_total',
      'Changes of the mean of live scores, by source kind and direction.',
      ['source_kind', 'direction'],
    );
  }

  observe(sourceKind: string, scores: readonly Score[]): void {
    let model: Score['model'] | undefined;
    let window: Adwin | undefined;
    for (const score of scores) {
      if (Number.isNaN(score.probability)) continue;
      if (window === undefined || score.model !== model) {
        model = score.model;
        window = this.#windowOf(sourceKind, model);
      }
      const { mean, size } = window;
      if (window.add(score.probability)) this.#note(sourceKind, score.model, { mean, size }, window);
    }
  }

  /** Resolves when what was noted so far is in the log. */
  async settled(): Promise<void> {
    await this.#last;
  }

  #windowOf(sourceKind: string, model: Score['model']): Adwin {
    const key = `${sourceKind} ${model.name}@${model.version}`;
    const window = this.#windows.get(key) ?? new Adwin();
    this.#windows.delete(key);
    this.#windows.set(key, window);
    if (this.#windows.size > MAX_WINDOWS) this.#windows.delete(this.#windows.keys().next().value as string);
    return window;
  }

  #note(
    sourceKind: string,
    model: Score['model'],
    before: { readonly mean: number; readonly size: number },
    after: Adwin,
  ): void {
    const { mean, size } = after;
    this.#changes.add({ source_kind: sourceKind, direction: mean > before.mean ? 'up' : 'down' });
    const detail = {
      ...{ sourceKind, digest: model.digest, meanBefore: before.mean, rowsBefore: before.size },
      ...{ meanNow: mean, rowsNow: size },
    };
    const subject = `${model.name}@${model.version}`;
    this.#last = this.#last
      .then(() =>
        this.#log.append({ kind: 'event', action: 'score.drift', principal: ACTOR, subject, detail }),
      )
      .catch((error: unknown) => {
        const code = error instanceof GuardianError ? error.code : 'unknown';
        this.#logger.error({ code }, 'a change of live scores could not be noted');
      });
  }
}
