import type { Bytes, Clock, Milliseconds } from '../../base/index.ts';
import { mayHaveGpu, type OpenedDevice, openDevice } from '../../features/index.ts';
import { BoostedModel, type DetectionModel, type ScoreBatchBuffers } from '../../models/index.ts';
import { InferenceError } from '../errors.ts';
import type { ExecutionProvider } from '../runtime/config.ts';
import { measureThreshold, type RowThreshold } from './crossover.ts';
import { type DeviceCheck, DeviceModel, type DeviceModelCounters } from './device-model.ts';
import { ScoringDevice } from './scoring-device.ts';

export interface GpuScoringOptions {
  readonly provider: ExecutionProvider;
  readonly memoryBytes: Bytes;
  /** Threads that score on the CPU: what a device has to be faster than. */
  readonly threads: number;
  readonly clock: Clock;
  /** Told when the device is taken into use, is lost, or is not used. */
  readonly note?: ((change: GpuChange) => void) | undefined;
  /** Opens the device; tests pass their own. */
  readonly open?: (() => Promise<OpenedDevice>) | undefined;
  /** Finds a model's row threshold; measured by default. */
  readonly measure?: typeof measureThreshold | undefined;
}

export interface GpuChange {
  readonly state: GpuState;
  readonly adapter?: string | undefined;
  readonly reason?: string | undefined;
}

/**
 * - `unopened`: no model has asked for it yet.
 * - `in-use`: it computes batches of those models for which it is faster.
 * - `unused`: there is none, or none that may be used; the reason says why.
 * - `lost`: it was in use and is gone; it is tried again.
 * - `wrong`: it gave another answer than the CPU; it is not used again.
 */
export type GpuState = 'unopened' | 'in-use' | 'unused' | 'lost' | 'wrong';

/** How one model stands to the device. */
export interface DeviceScorerReport {
  readonly model: string;
  /** Rows of a batch from which on the device computes it; Infinity where it never does. */
  readonly fromRows: number;
  readonly threshold?: RowThreshold | undefined;
  readonly check?: DeviceCheck | undefined;
  /** Why it is not computed there. */
  readonly reason?: string | undefined;
  readonly tableBytes: Bytes;
  readonly band: number;
}

export interface GpuReport extends DeviceModelCounters {
  readonly state: GpuState;
  readonly adapter?: string | undefined;
  readonly reason?: string | undefined;
  readonly budgetBytes: Bytes;
  /** Buffers on the device now. */
  readonly memoryBytes: Bytes;
  /** Buffers destroyed to stay within the budget, and made again when they were needed. */
  readonly evicted: number;
  /** Batches begun on the device and scored by the CPU. */
  readonly fallbacks: number;
  /** Times that a device was lost. */
  readonly losses: number;
  readonly models: readonly DeviceScorerReport[];
}

const FIRST_BACKOFF: Milliseconds = 1_000;
const MAX_BACKOFF: Milliseconds = 60_000;
/** A device that lasted so long is no sign of a fault that comes back at once. */
const SOUND_AFTER: Milliseconds = 60_000;
/** With so many pieces of work before it a batch is better off on the CPU. */
const MAX_WAITING = 3;

/** One device for all models of an engine: opened for the first of them, checked, measured, given up and tried again. */
export class GpuScoring {
  readonly #options: GpuScoringOptions;
  readonly #scorers = new Set<DeviceScorer>();
  readonly #gone = { rows: 0, again: 0, control: 0 };
  #state: GpuState = 'unopened';
  #device: ScoringDevice | undefined;
  #opening: Promise<void> | undefined;
  #adapter: string | undefined;
  #reason: string | undefined;
  #evicted = 0;
  #fallbacks = 0;
  #losses = 0;
  #failures = 0;
  #openedAt: Milliseconds = 0;
  #retryAt: Milliseconds = Number.POSITIVE_INFINITY;
  #isClosed = false;

  constructor(options: GpuScoringOptions) {
    this.#options = options;
  }

  get report(): GpuReport {
    const models = [...this.#scorers];
    const sum = (of: keyof DeviceModelCounters) =>
      models.reduce((total, { counters }) => total + counters[of], this.#gone[of]);
    return {
      ...{ state: this.#state, adapter: this.#adapter, reason: this.#reason },
      budgetBytes: this.#options.memoryBytes,
      memoryBytes: this.#device?.bytes ?? 0,
      evicted: this.#evicted + (this.#device?.evicted ?? 0),
      ...{ fallbacks: this.#fallbacks, losses: this.#losses },
      ...{ rows: sum('rows'), again: sum('again'), control: sum('control') },
      models: models.map(({ report }) => report),
    };
  }

  /**
   * What scores a model's large batches on the device; undefined where the device could not compute it. Opens the device, checks
   * and measures, some 100 ms on a GPU. `cuts`: probabilities at which something else is decided. Never fails.
   */
  async add(name: string, model: DetectionModel, cuts: readonly number[]): Promise<DeviceScorer | undefined> {
    if (!(model instanceof BoostedModel) || this.#isClosed) return undefined;
    if (this.#state === 'unopened') {
      this.#opening ??= this.#open();
      await this.#opening;
      this.#opening = undefined;
    }
    if (this.#state === 'unused' || this.#state === 'wrong') return undefined;
    const scorer = new DeviceScorer(name, new DeviceModel(model, cuts), this);
    this.#scorers.add(scorer);
    if (this.#device !== undefined) await this.prepare(scorer, this.#device);
    return scorer;
  }

  close(): void {
    this.#isClosed = true;
    this.#scorers.clear();
    this.#device?.close();
    this.#device = undefined;
  }

  /** The device, where it is in use and has room. Where it was lost, it is opened again once its pause is over. */
  ready(): ScoringDevice | undefined {
    if (this.#state === 'lost' && this.#options.clock.monotonic() >= this.#retryAt) {
      this.#retryAt = Number.POSITIVE_INFINITY;
      this.#opening ??= this.#open().finally(() => {
        this.#opening = undefined;
      });
    }
    const device = this.#state === 'in-use' ? this.#device : undefined;
    return device === undefined || device.waiting >= MAX_WAITING ? undefined : device;
  }

  /** A batch that was begun on a device ended on the CPU. */
  fellBack(device: ScoringDevice, error: InferenceError): void {
    this.#fallbacks++;
    if (device === this.#device) this.#giveUp(device, error.message, error.code === 'inference.device-wrong');
  }

  remove(scorer: DeviceScorer, model: DeviceModel): void {
    if (!this.#scorers.delete(scorer)) return;
    for (const key of ['rows', 'again', 'control'] as const) this.#gone[key] += scorer.counters[key];
    if (this.#device !== undefined) model.forget(this.#device);
  }

  /** Checks and measures a model on a device that has just come, or that the model has just come to. */
  async prepare(scorer: DeviceScorer, device: ScoringDevice): Promise<void> {
    const { clock, threads, provider, measure = measureThreshold } = this.#options;
    try {
      await scorer.prepare(device, {
        isAsked: provider === 'webgpu',
        measure: (model) => measure(model, device, { clock, threads }),
      });
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.#giveUp(
        device,
        message,
        error instanceof InferenceError && error.code === 'inference.device-wrong',
      );
    }
  }

  async #open(): Promise<void> {
    const { provider, memoryBytes, open = openDevice, clock } = this.#options;
    if (provider !== 'auto' && provider !== 'webgpu') {
      const says =
        provider === 'cpu' ? 'inference.provider is cpu' : `${provider} computes foreign graphs only`;
      return this.#leave('unused', says);
    }
    if (provider === 'auto' && open === openDevice && !mayHaveGpu()) {
      return this.#leave('unused', 'this machine shows no GPU');
    }
    const opened = await open();
    if (this.#isClosed) return opened.device?.destroy();
    if (opened.device === undefined) return this.#notOpened(opened.reason);
    this.#adapter = opened.adapter;
    if (opened.isSoftware && provider === 'auto') {
      opened.device.destroy();
      return this.#leave('unused', `${opened.adapter} is a software adapter`);
    }
    const device = new ScoringDevice(opened, memoryBytes);
    this.#device = device;
    this.#openedAt = clock.monotonic();
    this.#state = 'in-use';
    this.#reason = undefined;
    device.lost.then((reason) => this.#giveUp(device, reason, false));
    for (const scorer of this.#scorers) await this.prepare(scorer, device);
    if (this.#device === device) this.#note();
  }

  /** A device that was there before may come back. */
  #notOpened(reason: string): void {
    this.#leave(this.#losses === 0 ? 'unused' : 'lost', reason);
    if (this.#losses > 0) this.#pause();
  }

  #giveUp(device: ScoringDevice, reason: string, isWrong: boolean): void {
    if (device !== this.#device || this.#isClosed) return;
    this.#device = undefined;
    this.#losses++;
    this.#evicted += device.evicted;
    if (this.#options.clock.monotonic() - this.#openedAt > SOUND_AFTER) this.#failures = 0;
    if (!isWrong) this.#pause();
    this.#leave(isWrong ? 'wrong' : 'lost', reason);
    device.close();
  }

  #pause(): void {
    const backoff = Math.min(MAX_BACKOFF, FIRST_BACKOFF * 2 ** this.#failures++);
    this.#retryAt = this.#options.clock.monotonic() + backoff;
  }

  #leave(state: GpuState, reason: string): void {
    this.#state = state;
    this.#reason = reason;
    this.#note();
  }

  #note(): void {
    this.#options.note?.({ state: this.#state, adapter: this.#adapter, reason: this.#reason });
  }
}

/** One model's way to the device. */
export class DeviceScorer {
  readonly #name: string;
  readonly #model: DeviceModel;
  readonly #gpu: GpuScoring;
  /** On which it was checked and measured. */
  #device: ScoringDevice | undefined;
  readonly #measured = { rows: 0, again: 0, control: 0 };
  #fromRows = Number.POSITIVE_INFINITY;
  #threshold: RowThreshold | undefined;
  #check: DeviceCheck | undefined;
  #reason: string | undefined;

  constructor(name: string, model: DeviceModel, gpu: GpuScoring) {
    this.#name = name;
    this.#model = model;
    this.#gpu = gpu;
  }

  /** Of batches that somebody asked for. */
  get counters(): DeviceModelCounters {
    const { rows, again, control } = this.#model.counters;
    const measured = this.#measured;
    return { rows: rows - measured.rows, again: again - measured.again, control: control - measured.control };
  }

  get report(): DeviceScorerReport {
    const { bytes: tableBytes, band } = this.#model;
    return {
      ...{ model: this.#name, fromRows: this.#fromRows, threshold: this.#threshold, check: this.#check },
      ...{ reason: this.#reason, tableBytes, band },
    };
  }

  /** Whether a batch of so many rows is better off there now. */
  takes(rows: number): boolean {
    if (rows < this.#fromRows) return false;
    const device = this.#gpu.ready();
    return device !== undefined && device === this.#device;
  }

  /**
   * As `DetectionModel.score`, of checked arrays; false where the CPU has to score them, since the device is gone or wrong. Rejects
   * `inference.cancelled`.
   */
  async score(
    values: Float32Array,
    rows: number,
    out: ScoreBatchBuffers,
    signal?: AbortSignal,
  ): Promise<boolean> {
    const device = this.#device;
    if (device === undefined) return false;
    try {
      await this.#model.score(device, values, rows, out, signal);
      return true;
    } catch (error) {
      if (!(error instanceof InferenceError) || error.code === 'inference.cancelled') throw error;
      this.#gpu.fellBack(device, error);
      return false;
    }
  }

  /** The model is gone. */
  close(): void {
    this.#gpu.remove(this, this.#model);
  }

  /** Refuses the device for this model, or says from how many rows on it is used. */
  async prepare(
    device: ScoringDevice,
    {
      isAsked,
      measure,
    }: { readonly isAsked: boolean; readonly measure: (model: DeviceModel) => Promise<RowThreshold> },
  ): Promise<void> {
    this.#device = undefined;
    this.#fromRows = Number.POSITIVE_INFINITY;
    this.#reason = this.#model.misfit(device);
    if (this.#reason !== undefined) return;
    this.#check = await this.#model.check(device);
    this.#reason = this.#check.refused;
    if (this.#reason !== undefined) return;
    const before = this.#model.counters;
    this.#threshold = await measure(this.#model);
    const { rows, again, control } = this.#model.counters;
    this.#measured.rows += rows - before.rows;
    this.#measured.again += again - before.again;
    this.#measured.control += control - before.control;
    this.#fromRows = isAsked ? 1 : this.#threshold.rows;
    if (this.#fromRows === Number.POSITIVE_INFINITY) {
      this.#reason = 'slower than the CPU';
      this.#model.forget(device);
    }
    this.#device = device;
  }
}
