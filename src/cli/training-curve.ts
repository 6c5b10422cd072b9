import { appendFileSync, closeSync, openSync } from 'node:fs';
import type { Clock } from '../base/index.ts';
import type { PauseCounters, RoundProgress } from '../training/index.ts';
import { CliError } from './errors.ts';

export interface TrainingCurveOptions {
  readonly path: string;
  /** Whether lines are added to a curve that is there: a run that goes on. */
  readonly append: boolean;
  /** Rows of the table; a round goes over all of them that train. */
  readonly rows: number;
  readonly clock: Clock;
}

/** The course of a training, one JSON object a line and round, written as it comes. */
export class TrainingCurve {
  readonly #file: number;
  readonly #rows: number;
  readonly #clock: Clock;
  readonly #start: number;
  readonly #cpu = process.cpuUsage();
  #lastTime: number;
  #lastRound = 0;

  /** Throws `cli.file-exists` where the file is there and is not to be added to. */
  constructor({ path, append, rows, clock }: TrainingCurveOptions) {
    try {
      this.#file = openSync(path, append ? 'a' : 'ax', 0o644);
    } catch (cause) {
      if (cause instanceof Error && 'code' in cause && cause.code === 'EEXIST') {
        throw new CliError('cli.file-exists', `${path} exists already and is not overwritten`);
      }
      throw new CliError('cli.usage', `cannot write ${path}`, { cause });
    }
    this.#rows = rows;
    this.#clock = clock;
    this.#start = clock.monotonic();
    this.#lastTime = this.#start;
  }

  add(
    { round, rounds, validationLoss, aggregation }: RoundProgress,
    { pauses, pausedMs }: PauseCounters,
  ): void {
    const now = this.#clock.monotonic();
    const seconds = (now - this.#lastTime) / 1000;
    const { user, system } = process.cpuUsage(this.#cpu);
    const line = {
      type: 'train.curve',
      round,
      rounds,
      ...(validationLoss !== undefined && { validationLoss }),
      rowsPerSecond: seconds > 0 ? Math.round(((round - this.#lastRound) * this.#rows) / seconds) : null,
      seconds: (now - this.#start) / 1000,
      cpuSeconds: (user + system) / 1e6,
      rssBytes: process.memoryUsage.rss(),
      pauses,
      pausedMs,
      ...(aggregation && { aggregation }),
    };
    appendFileSync(this.#file, `${JSON.stringify(line)}\n`);
    this.#lastTime = now;
    this.#lastRound = round;
  }

  close(): void {
    closeSync(this.#file);
  }
}
