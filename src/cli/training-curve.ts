import { appendFileSync, closeSync, openSync } from 'node:fs';
import type { Clock } from '../base/index.ts';
import type { CurvePoint, EpochProgress, PauseCounters, RoundProgress } from '../training/index.ts';
import { CliError } from './errors.ts';

/** Makes the points of a curve: what a round or an epoch tells, and what it took of the machine. */
export class CurvePoints {
  readonly #rows: number;
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #start: number;
  readonly #cpu = process.cpuUsage();
  #lastTime: number;
  #lastRound = 0;

  /** `rows`: of the table; a round goes over all of them that train. */
  constructor(rows: number, clock: Pick<Clock, 'monotonic'>) {
    this.#rows = rows;
    this.#clock = clock;
    this.#start = clock.monotonic();
    this.#lastTime = this.#start;
  }

  round({ round, rounds, validationLoss, aggregation }: RoundProgress, pauses: PauseCounters): CurvePoint {
    const rows = (round - this.#lastRound) * this.#rows;
    this.#lastRound = round;
    return {
      ...{ part: 'trees', round, rounds },
      ...(validationLoss !== undefined && { validationLoss }),
      ...this.#taken(rows, pauses),
      ...(aggregation && { aggregation }),
    };
  }

  epoch({ epoch, epochs, rows, loss }: EpochProgress, pauses: PauseCounters): CurvePoint {
    return {
      ...{ part: 'autoencoder', round: epoch, rounds: epochs, trainingLoss: loss },
      ...this.#taken(rows, pauses),
    };
  }

  #taken(rows: number, { pauses, pausedMs }: PauseCounters) {
    const now = this.#clock.monotonic();
    const seconds = (now - this.#lastTime) / 1000;
    this.#lastTime = now;
    const { user, system } = process.cpuUsage(this.#cpu);
    return {
      // Rounds that a checkpoint had done already go backwards at first.
      rowsPerSecond: seconds > 0 && rows >= 0 ? Math.round(rows / seconds) : null,
      seconds: (now - this.#start) / 1000,
      cpuSeconds: (user + system) / 1e6,
      rssBytes: process.memoryUsage.rss(),
      ...{ pauses, pausedMs },
    };
  }
}

/** The curve of a training as a file: one JSON object a line and point, written as it comes. */
export class CurveFile {
  readonly #file: number;

  /** Throws `cli.file-exists` where the file is there and is not to be added to. */
  constructor(path: string, isAddedTo: boolean) {
    try {
      this.#file = openSync(path, isAddedTo ? 'a' : 'ax', 0o644);
    } catch (cause) {
      if (cause instanceof Error && 'code' in cause && cause.code === 'EEXIST') {
        throw new CliError('cli.file-exists', `${path} exists already and is not overwritten`);
      }
      throw new CliError('cli.usage', `cannot write ${path}`, { cause });
    }
  }

  add(point: CurvePoint): void {
    appendFileSync(this.#file, `${JSON.stringify({ type: 'train.curve', ...point })}\n`);
  }

  close(): void {
    closeSync(this.#file);
  }
}
