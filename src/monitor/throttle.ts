import { z } from 'zod';
import { MonitorError } from './errors.ts';
import type { Reading } from './reading.ts';

/** What is given up, in this order: training slows, then batch scoring, then new work is refused. */
export const THROTTLE_LEVELS = ['none', 'slow-training', 'slow-batch', 'shed'] as const;
export type ThrottleLevel = (typeof THROTTLE_LEVELS)[number];

const MIB = 1024 * 1024;
const steps = (slowTraining: number, slowBatch: number, shed: number) =>
  z
    .strictObject({ slowTraining: z.number().min(0), slowBatch: z.number().min(0), shed: z.number().min(0) })
    .prefault({ slowTraining, slowBatch, shed });

/** The section `monitor` of the configuration. */
export const monitorConfigSchema = z.strictObject({
  intervalMs: z.number().int().min(100).max(60_000).default(1_000),
  /** Upper limits. A full CPU alone is no reason to refuse work: the shed step lies above 1. */
  machineCpuShare: steps(0.9, 0.98, 2),
  eventLoopDelayMs: steps(200, 500, 2_000),
  /** A busy GPU is no reason to refuse work: the CPU scores, too. */
  gpuBusyShare: steps(0.9, 0.98, 2),
  /** Lower limits. */
  memoryAvailableBytes: steps(512 * MIB, 256 * MIB, 96 * MIB),
  diskFreeBytes: steps(1_024 * MIB, 512 * MIB, 128 * MIB),
  riseAfterReadings: z
    .number()
    .int()
    .min(1)
    .default(2)
    .describe('readings over a limit until a level is raised'),
  fallAfterReadings: z.number().int().min(1).default(10).describe('readings well within until it is lowered'),
  fallMargin: z.number().min(0).max(0.9).default(0.1).describe('how far within, as a share of the limit'),
});
export type MonitorConfig = z.output<typeof monitorConfigSchema>;

const UPPER = ['machineCpuShare', 'eventLoopDelayMs', 'gpuBusyShare'] as const;
const LOWER = ['memoryAvailableBytes', 'diskFreeBytes'] as const;
export type Measure = (typeof UPPER)[number] | (typeof LOWER)[number];

export interface ThrottleState {
  readonly level: ThrottleLevel;
  /** The measures at or over the limit of this level, empty at `none`. */
  readonly causes: readonly Measure[];
}

const IS_UPPER: ReadonlySet<Measure> = new Set(UPPER);
const STEPS = ['slowTraining', 'slowBatch', 'shed'] as const;

/** Throws `monitor.limits-invalid`: unknown key, wrong type, or steps in the wrong order. */
export function readMonitorConfig(config: z.input<typeof monitorConfigSchema> = {}): MonitorConfig {
  const parsed = monitorConfigSchema.safeParse(config);
  if (!parsed.success) {
    const says = z.prettifyError(parsed.error).replaceAll('\n', '; ');
    throw new MonitorError('monitor.limits-invalid', says, { cause: parsed.error });
  }
  for (const measure of [...UPPER, ...LOWER]) {
    const { slowTraining, slowBatch, shed } = parsed.data[measure];
    const sign = IS_UPPER.has(measure) ? 1 : -1;
    if (sign * slowTraining > sign * slowBatch || sign * slowBatch > sign * shed) {
      throw new MonitorError(
        'monitor.limits-invalid',
        `${measure}: expected slowTraining, slowBatch, shed to grow stricter, got ${slowTraining}, ${slowBatch}, ${shed}`,
      );
    }
  }
  return parsed.data;
}

/**
 * Turns readings into a level. Rises straight to the level that `riseAfterReadings` readings in a row ask for;
 * falls one level at a time, after `fallAfterReadings` readings in a row that keep the margin, so that a
 * value at its limit does not make it flutter. Pure but for its own counters. NaN limits nothing.
 */
export class Throttle {
  readonly #config: MonitorConfig;
  #level = 0;
  #causes: readonly Measure[] = [];
  /** The level each of the last readings asked for, newest last. */
  #asked: number[] = [];
  #calm = 0;

  constructor(config: MonitorConfig) {
    this.#config = config;
  }

  get state(): ThrottleState {
    return { level: THROTTLE_LEVELS[this.#level] as ThrottleLevel, causes: this.#causes };
  }

  next(reading: Reading): ThrottleState {
    const { riseAfterReadings, fallAfterReadings, fallMargin } = this.#config;
    this.#asked.push(this.#levelOf(reading, 0));
    if (this.#asked.length > riseAfterReadings) this.#asked.shift();
    const risen = this.#asked.length === riseAfterReadings ? Math.min(...this.#asked) : 0;
    if (risen > this.#level) {
      this.#level = risen;
      this.#calm = 0;
    } else if (this.#level > 0) {
      this.#calm = this.#levelOf(reading, fallMargin) < this.#level ? this.#calm + 1 : 0;
      if (this.#calm >= fallAfterReadings) {
        this.#level--;
        this.#calm = 0;
      }
    }
    this.#causes = this.#level === 0 ? [] : this.#causesOf(reading);
    return this.state;
  }

  #levelOf(reading: Reading, margin: number): number {
    let level = 0;
    for (const measure of [...UPPER, ...LOWER])
      level = Math.max(level, this.#stepOf(reading, measure, margin));
    return level;
  }

  /** Keeps the causes of the rise while the level stands on its hysteresis alone. */
  #causesOf(reading: Reading): readonly Measure[] {
    const now = [...UPPER, ...LOWER].filter((measure) => this.#stepOf(reading, measure, 0) >= this.#level);
    return now.length > 0 ? now : this.#causes;
  }

  #stepOf(reading: Reading, measure: Measure, margin: number): number {
    const value = reading[measure];
    const limits = this.#config[measure];
    const isUpper = IS_UPPER.has(measure);
    let level = 0;
    for (const [i, step] of STEPS.entries()) {
      const limit = limits[step] * (isUpper ? 1 - margin : 1 + margin);
      if (isUpper ? value >= limit : value <= limit) level = i + 1;
    }
    return level;
  }
}
