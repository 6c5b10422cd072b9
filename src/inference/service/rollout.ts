import type { Clock, Milliseconds } from '../../base/index.ts';
import { ABSTAIN, ATTACK, BENIGN } from '../score-columns.ts';
import { confidenceOf, type ServedModel } from '../served-model.ts';
import { breakerCauseOf } from './breaker-cause.ts';
import type { BreakerCause } from './circuit-breaker.ts';
import { Comparison, type ComparisonReport, type Side } from './comparison.ts';
import type { ShadowConfig } from './config.ts';
import { type AnsweredRows, type Later, Mirror } from './mirror.ts';
import { SourceShare } from './source-share.ts';

export type RolloutKind = 'shadow' | 'canary';

/** Why a version no longer runs beside the champion. */
export type RolloutEnd = 'stopped' | 'candidate-failed' | 'champion-moved' | 'unloaded';

/** A version beside the champion, and what came of it. */
export interface RolloutReport extends ComparisonReport {
  readonly name: string;
  readonly kind: RolloutKind;
  /** Share of the sources for which a canary decides; null for a shadow, which never decides. */
  readonly percent: number | null;
  readonly startedBy: string;
  /** RFC 3339 UTC. */
  readonly startedAt: string;
  /** Null while it runs. */
  readonly endedAt: string | null;
  readonly endedBecause: RolloutEnd | null;
  /** Rows that wait to be compared. */
  readonly waitingRows: number;
}

export interface RolloutTerms {
  readonly kind: RolloutKind;
  /** In (0, 100] for a canary. */
  readonly percent?: number;
  readonly startedBy: string;
  /** At least 16 bytes drawn for this rollout. */
  readonly key: Uint8Array;
}

export interface RolloutParts {
  readonly champion: ServedModel;
  readonly candidate: ServedModel;
  readonly terms: RolloutTerms;
  readonly config: ShadowConfig;
  readonly confidenceThreshold: number;
  readonly timeoutMs: Milliseconds;
  readonly clock: Clock;
  readonly later?: Later;
}

/**
 * A second version of a model at work: as a shadow it is only shown what the champion answered, as a canary it answers for
 * a share of the sources, and the champion is shown those. Whichever did not answer is asked behind the answer's back.
 */
export class Rollout {
  readonly champion: ServedModel;
  readonly candidate: ServedModel;
  readonly #parts: RolloutParts;
  readonly #share: SourceShare | undefined;
  readonly #comparison: Comparison;
  readonly #mirror: Mirror;
  readonly #startedAt: Milliseconds;
  #ended: { readonly at: Milliseconds; readonly because: RolloutEnd } | undefined;

  constructor(parts: RolloutParts) {
    const { champion, candidate, terms, config, clock, later } = parts;
    this.#parts = parts;
    this.champion = champion;
    this.candidate = candidate;
    this.#startedAt = clock.now();
    this.#share = terms.kind === 'canary' ? new SourceShare(terms.key, terms.percent ?? 0) : undefined;
    this.#comparison = new Comparison({
      champion: champion.info.version,
      candidate: candidate.info.version,
    });
    this.#mirror = new Mirror({
      ...{ config, clock, columns: champion.columns },
      ...(later !== undefined && { later }),
      score: (side, values, rows, out) => this.#served(side).runtime.score(values, rows, out),
      onRows: ({ side, rows, took, answered, probability }) => {
        if (this.#isSound(side, probability, took)) {
          this.#comparison.mirrored(side, rows, took);
          this.#compare(side, rows, answered, probability);
        }
      },
      onFail: (side, error) => this.#failedMirror(side, breakerCauseOf(error)),
      onDrop: (rows) => {
        this.#comparison.droppedRows += rows;
      },
    });
  }

  get kind(): RolloutKind {
    return this.#parts.terms.kind;
  }

  /** Whether the candidate decides what comes from there. */
  decides(source: string | undefined): boolean {
    return this.#share?.includes(source) === true;
  }

  /** A batch that one of the two has answered in full; the arrays are only read. */
  answered(served: ServedModel, batch: AnsweredRows, took: Milliseconds): void {
    const side = this.#sideOf(served);
    if (side === undefined) return;
    this.#comparison.decided(side, batch.rows, took);
    const other = side === 'champion' ? 'candidate' : 'champion';
    // A runtime of its own answers one batch at a time, and what is decided must not wait for what is compared.
    const isFree = this.#served(other).runtime.kind === 'inline' || this.kind === 'shadow';
    if (isFree) this.#mirror.offer(other, batch);
    else this.#comparison.droppedRows += batch.rows;
  }

  /** A call that failed where one of the two was to answer. */
  failed(served: ServedModel, cause: BreakerCause): void {
    const side = this.#sideOf(served);
    if (side !== undefined) this.#comparison.failed(side, cause);
  }

  /** While the machine is short of something nothing is compared. */
  pause(isPaused: boolean): void {
    this.#mirror.pause(isPaused);
  }

  end(because: RolloutEnd): void {
    this.#ended ??= { at: this.#parts.clock.now(), because };
    this.#mirror.close();
  }

  report(): RolloutReport {
    const { kind, percent, startedBy } = this.#parts.terms;
    const ended = this.#ended;
    return {
      name: this.champion.info.name,
      kind,
      percent: percent ?? null,
      startedBy,
      startedAt: new Date(this.#startedAt).toISOString(),
      endedAt: ended === undefined ? null : new Date(ended.at).toISOString(),
      endedBecause: ended?.because ?? null,
      waitingRows: this.#mirror.waiting,
      ...this.#comparison.report(),
    };
  }

  /** What the mirror found counts for the candidate's breaker; the champion is judged by what it decides alone. */
  #isSound(side: Side, probability: Float32Array, took: Milliseconds): boolean {
    const isCorrupt = probability.some((p) => !(p >= 0 && p <= 1));
    if (isCorrupt || took >= this.#parts.timeoutMs) {
      this.#failedMirror(side, isCorrupt ? 'corrupt-output' : 'timeout');
      return false;
    }
    if (side === 'candidate') {
      const { breaker } = this.candidate;
      const now = this.#parts.clock.monotonic();
      breaker.succeed(breaker.admit(now), now);
    }
    return true;
  }

  #failedMirror(side: Side, cause: BreakerCause): void {
    this.#comparison.failed(side, cause);
    if (side === 'champion') return;
    const { breaker } = this.candidate;
    const now = this.#parts.clock.monotonic();
    breaker.fail(breaker.admit(now), cause, now);
  }

  #compare(
    mirrored: Side,
    rows: number,
    answered: Pick<AnsweredRows, 'probability' | 'verdict'>,
    probability: Float32Array,
  ): void {
    const { threshold } = this.#served(mirrored);
    const { confidenceThreshold } = this.#parts;
    for (let row = 0; row < rows; row++) {
      const p = probability[row] as number;
      const verdict = verdictOf(p, threshold, confidenceThreshold);
      const told = answered.verdict[row] as number;
      const score = answered.probability[row] as number;
      if (mirrored === 'candidate') this.#comparison.add(told, verdict, score, p);
      else this.#comparison.add(verdict, told, p, score);
    }
  }

  #served(side: Side): ServedModel {
    return side === 'champion' ? this.champion : this.candidate;
  }

  #sideOf(served: ServedModel): Side | undefined {
    // The champion may have been loaded again since, with a certificate.
    if (served.info.version === this.champion.info.version) return 'champion';
    return served === this.candidate ? 'candidate' : undefined;
  }
}

/** As the engine decides, by its index in VERDICTS. */
function verdictOf(probability: number, threshold: number, confidenceThreshold: number): number {
  if (confidenceOf(probability, threshold) < confidenceThreshold) return ABSTAIN;
  return probability >= threshold ? ATTACK : BENIGN;
}
