import type { Clock, Milliseconds } from '../base/index.ts';
import type { CurvePoint } from '../training/index.ts';

export const RUN_STATES = ['running', 'done', 'failed'] as const;
export type RunState = (typeof RUN_STATES)[number];

/** A training as far as it was told. */
export interface TrainingRunSummary {
  readonly id: string;
  /** Name of the model that is trained. */
  readonly model: string;
  readonly state: RunState;
  readonly begunMs: Milliseconds;
  readonly heardMs: Milliseconds;
  readonly last?: CurvePoint;
}

export interface TrainingRunCurve extends TrainingRunSummary {
  /** From the first on, thinned out evenly where there are many. */
  readonly points: readonly CurvePoint[];
}

/** Runs that are remembered; the one heard of longest ago is forgotten for a new one. */
const MAX_RUNS = 16;
/** Points of a run at most: then every other one is dropped, and only so many are taken from there on. */
const MAX_POINTS = 1_000;

interface Told {
  readonly id: string;
  readonly model: string;
  readonly begunMs: Milliseconds;
  state: RunState;
  heardMs: Milliseconds;
  last: CurvePoint | undefined;
  points: CurvePoint[];
  told: number;
  stride: number;
}

/** The curves of the last trainings, in memory: who trains tells them, and nothing depends on them. */
export class TrainingRuns {
  readonly #clock: Pick<Clock, 'now'>;
  /** By id; heard of longest ago first. */
  readonly #runs = new Map<string, Told>();

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock;
  }

  /** Adds to a run, which begins where it is not known. */
  tell(
    id: string,
    { model, state, points }: { model: string; state: RunState; points: readonly CurvePoint[] },
  ): void {
    const now = this.#clock.now();
    const run: Told = this.#runs.get(id) ?? {
      ...{ id, model, begunMs: now, state, heardMs: now, last: undefined, points: [], told: 0, stride: 1 },
    };
    run.state = state;
    run.heardMs = now;
    for (const point of points) add(run, point);
    this.#runs.delete(id);
    this.#runs.set(id, run);
    for (const oldest of this.#runs.keys()) {
      if (this.#runs.size <= MAX_RUNS) break;
      this.#runs.delete(oldest);
    }
  }

  /** Heard of last first. */
  list(): TrainingRunSummary[] {
    return [...this.#runs.values()].reverse().map(summary);
  }

  find(id: string): TrainingRunCurve | undefined {
    const run = this.#runs.get(id);
    return run && { ...summary(run), points: [...run.points] };
  }
}

function add(run: Told, point: CurvePoint): void {
  run.last = point;
  if (run.told++ % run.stride !== 0) return;
  run.points.push(point);
  if (run.points.length < MAX_POINTS) return;
  run.points = run.points.filter((_, i) => i % 2 === 0);
  run.stride *= 2;
}

function summary({ id, model, state, begunMs, heardMs, last }: Told): TrainingRunSummary {
  return { id, model, state, begunMs, heardMs, ...(last && { last }) };
}
