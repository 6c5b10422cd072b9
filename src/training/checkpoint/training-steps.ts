import { setImmediate } from 'node:timers/promises';
import type { BoostingOptions } from '../boosting.ts';
import type { CheckpointStore } from './checkpoint-store.ts';
import { grownArrays, grownOf } from './grown-state.ts';
import { decodeState, encodeState, type StepArrays } from './training-state.ts';

export interface TrainingStepsOptions {
  readonly store: CheckpointStore;
  /** Rounds of boosting between two checkpoints at least. */
  readonly everyRounds: number;
  /** Share of the time that checkpoints may take; after one that took long the next one waits. */
  readonly maxShare: number;
  /** Told of each checkpoint that could not be saved; the training goes on. */
  readonly onFailure?: (error: unknown) => void;
  /** Monotonic milliseconds. */
  readonly now?: () => number;
}

export interface CheckpointCounts {
  readonly saved: number;
  readonly failed: number;
  /** Trees and fitted parts that came from a checkpoint. */
  readonly resumed: number;
  /** Bytes of the last state, and time spent on all of them. */
  readonly bytes: number;
  readonly milliseconds: number;
}

/** How a fitted part is written as arrays and read again, bit by bit. */
export interface PartCode<T> {
  encode(part: T): StepArrays;
  decode(arrays: StepArrays): T;
}

/**
 * The steps of one run, each a tree or a fitted part, saved as they are done and taken from the last checkpoint where it
 * has them. What lies between steps (bins, splits of the rows, draws) follows from data and seed and is made again.
 */
export class TrainingSteps {
  readonly #run: Run;
  readonly #prefix: string;

  private constructor(run: Run, prefix: string) {
    this.#run = run;
    this.#prefix = prefix;
  }

  /** Loads what the store has. Throws what it throws, and `training.checkpoint-unreadable`. */
  static async open(options: TrainingStepsOptions): Promise<TrainingSteps> {
    const state = await options.store.load();
    const steps = state === undefined ? new Map<string, StepArrays>() : decodeState(state);
    state?.fill(0);
    return new TrainingSteps(new Run(options, steps), '');
  }

  /** Steps of a part of the run that has the same names as another part. */
  within(part: string): TrainingSteps {
    return new TrainingSteps(this.#run, `${this.#prefix}${part}/`);
  }

  get counts(): CheckpointCounts {
    return this.#run.counts;
  }

  /** What makes a boosting of this name go on and be saved. */
  boosting(name: string): Pick<BoostingOptions, 'resume' | 'onRound'> {
    const step = this.#prefix + name;
    const found = this.#run.steps.get(step);
    const resume = found && grownOf(found);
    this.#run.counts.resumed += resume?.trees.length ?? 0;
    return {
      ...(resume && { resume }),
      onRound: ({ trees, validationLoss }) => {
        // The lists go on growing, and early stopping cuts them.
        const grown = { trees: [...trees], validationLoss: [...validationLoss] };
        return this.#run.note(step, () => grownArrays(grown));
      },
    };
  }

  /** Fits a part, or takes it as it was fitted before. */
  async part<T>(name: string, fit: () => T | Promise<T>, code: PartCode<T>): Promise<T> {
    const step = this.#prefix + name;
    const found = this.#run.steps.get(step);
    if (found !== undefined) {
      this.#run.counts.resumed++;
      return code.decode(found);
    }
    const part = await fit();
    await this.#run.note(step, () => code.encode(part), true);
    // A fitted part held the thread for long: an interrupt is seen here.
    await setImmediate();
    return part;
  }
}

/** What the steps of one run share. */
class Run {
  readonly steps: Map<string, StepArrays>;
  readonly counts = { saved: 0, failed: 0, resumed: 0, bytes: 0, milliseconds: 0 };
  readonly #options: TrainingStepsOptions;
  readonly #now: () => number;
  /** The step in hand; it is written as arrays when it is saved, or when another one begins. */
  #pending: { readonly step: string; readonly arrays: () => StepArrays } | undefined;
  #rounds = 0;
  #earliest: number;

  constructor(options: TrainingStepsOptions, steps: Map<string, StepArrays>) {
    this.#options = options;
    this.steps = steps;
    this.#now = options.now ?? (() => performance.now());
    this.#earliest = this.#now();
  }

  async note(step: string, arrays: () => StepArrays, isWhole = false): Promise<void> {
    if (this.#pending !== undefined && this.#pending.step !== step) this.#settle();
    this.#pending = { step, arrays };
    this.#rounds++;
    const begun = this.#now();
    if ((!isWhole && this.#rounds < this.#options.everyRounds) || begun < this.#earliest) return;
    this.#settle();
    await this.#save();
    const spent = this.#now() - begun;
    this.counts.milliseconds += spent;
    this.#rounds = 0;
    this.#earliest = begun + spent / this.#options.maxShare;
  }

  #settle(): void {
    if (this.#pending !== undefined) this.steps.set(this.#pending.step, this.#pending.arrays());
    this.#pending = undefined;
  }

  async #save(): Promise<void> {
    const state = encodeState(this.steps);
    try {
      await this.#options.store.save(state);
      this.counts.saved++;
      this.counts.bytes = state.length;
    } catch (error) {
      this.counts.failed++;
      this.#options.onFailure?.(error);
    } finally {
      state.fill(0);
    }
  }
}
