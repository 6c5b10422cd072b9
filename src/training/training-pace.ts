import { z } from 'zod';
import type { Clock, Milliseconds } from '../base/index.ts';
import type { Reading } from '../monitor/index.ts';
import { TrainingError } from './errors.ts';

/** What training may take of a machine that serves, too. The model does not depend on it. */
export const trainingLimitsSchema = z.strictObject({
  /** Share of the cores that training takes on average; it rests between rounds to keep to it. */
  maxCpuShare: z.number().positive().max(1).default(1),
  /** Share of the cores in use by others at which training pauses; at 1 it leaves that to its niceness. */
  pauseAtCpuShare: z.number().positive().max(1).default(1),
  /** Memory that must be left to be taken on the machine, or in the control group; training pauses with less. */
  minMemoryAvailableBytes: z.int().min(0).default(268_435_456),
  /** Resident memory of the training process; above it training waits for memory to be given back, then fails. 0 is no limit. */
  maxMemoryBytes: z.int().min(0).default(0),
  /** Longest pause between two rounds: training slows, and does not starve itself. */
  maxPauseMs: z.number().min(0).max(86_400_000).default(10_000),
  /** How often the machine is looked at. */
  intervalMs: z.number().min(10).max(60_000).default(500),
  /** Added to the priority of `guardian train`, as nice(1) has it: 0 keeps it, 19 gives way to everyone. */
  niceness: z.int().min(0).max(19).default(10),
});

export type TrainingLimits = z.output<typeof trainingLimitsSchema>;

/** Why training waited. */
export const PAUSE_CAUSES = ['cpu-share', 'cpu-pressure', 'memory-pressure', 'memory-limit'] as const;
export type PauseCause = (typeof PAUSE_CAUSES)[number];

export interface PauseCounters {
  /** Waits, and how long they took in all. */
  readonly pauses: number;
  readonly pausedMs: Milliseconds;
  readonly byCause: Readonly<Record<PauseCause, Milliseconds>>;
}

export interface TrainingPaceOptions {
  readonly limits: TrainingLimits;
  /** Looks at process and machine; what it says of CPU is since the look before. */
  readonly read: () => Reading;
  readonly clock: Pick<Clock, 'monotonic'>;
  /** Rejects where training was broken off. */
  readonly sleep: (ms: Milliseconds) => Promise<void>;
}

/**
 * Slows training between its rounds while the machine is short of CPU or memory. Asked after each round, it looks at the
 * machine at most once an interval, so that short rounds cost nothing.
 */
export class TrainingPace {
  readonly #options: TrainingPaceOptions;
  readonly #byCause: Record<PauseCause, number> = {
    'cpu-share': 0,
    'cpu-pressure': 0,
    'memory-pressure': 0,
    'memory-limit': 0,
  };
  #pauses = 0;
  #lastLook: Milliseconds;

  constructor(options: TrainingPaceOptions) {
    this.#options = options;
    this.#lastLook = options.clock.monotonic();
  }

  get counters(): PauseCounters {
    const pausedMs = PAUSE_CAUSES.reduce((sum, cause) => sum + this.#byCause[cause], 0);
    return { pauses: this.#pauses, pausedMs, byCause: { ...this.#byCause } };
  }

  /** Resolves when the next round may begin. Throws `training.memory-exceeded`, and what the sleep rejects with. */
  async turn(): Promise<void> {
    const { limits, clock } = this.#options;
    const elapsed = clock.monotonic() - this.#lastLook;
    if (elapsed < limits.intervalMs) return;
    let reading = this.#look();
    await this.#rest(reading, elapsed);
    let paused = 0;
    for (;;) {
      const cause = this.#pressure(reading);
      if (cause === undefined) return;
      if (paused >= limits.maxPauseMs) {
        if (cause !== 'memory-limit') return;
        throw new TrainingError(
          'training.memory-exceeded',
          `expected at most ${limits.maxMemoryBytes} bytes of resident memory, got ${reading.rssBytes} after a pause of ${paused} ms`,
        );
      }
      const ms = Math.min(limits.intervalMs, limits.maxPauseMs - paused);
      await this.#pause(cause, ms);
      paused += ms;
      reading = this.#look();
    }
  }

  /** Sleeps as long as it takes for the CPU time since the look before to be within its share. */
  async #rest({ processCpuCores, cpuCores }: Reading, elapsed: Milliseconds): Promise<void> {
    const { maxCpuShare, maxPauseMs } = this.#options.limits;
    const over = (processCpuCores * elapsed) / (maxCpuShare * cpuCores) - elapsed;
    if (maxCpuShare < 1 && over > 0) await this.#pause('cpu-share', Math.min(over, maxPauseMs));
  }

  /** What a system does not say, NaN, is no pressure. */
  #pressure(reading: Reading): PauseCause | undefined {
    const { limits } = this.#options;
    if (limits.maxMemoryBytes > 0 && reading.rssBytes > limits.maxMemoryBytes) return 'memory-limit';
    if (reading.memoryAvailableBytes < limits.minMemoryAvailableBytes) return 'memory-pressure';
    const others = reading.machineCpuShare - reading.processCpuCores / reading.cpuCores;
    return limits.pauseAtCpuShare < 1 && others >= limits.pauseAtCpuShare ? 'cpu-pressure' : undefined;
  }

  async #pause(cause: PauseCause, ms: Milliseconds): Promise<void> {
    this.#pauses++;
    this.#byCause[cause] += ms;
    await this.#options.sleep(ms);
  }

  #look(): Reading {
    this.#lastLook = this.#options.clock.monotonic();
    return this.#options.read();
  }
}
