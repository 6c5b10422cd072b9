import type { Clock, Logger } from '../../base/index.ts';
import { FeatureError } from '../errors.ts';
import { findDisagreement } from './agreement.ts';
import { CpuBackend } from './cpu-backend.ts';
import { type Crossovers, MEASURED_COLUMNS, measureCrossovers, sampleOf } from './crossover.ts';
import type {
  BackendOperation,
  BinColumn,
  FeatureBackend,
  FloatTable,
  Normalisation,
  Reduction,
} from './feature-backend.ts';

export interface MeasuredBackendOptions {
  readonly gpu: FeatureBackend & { readonly lost: Promise<string> };
  /** How the adapter calls itself, for the log. */
  readonly adapter: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Every batch goes to the device, whatever was measured. */
  readonly always?: boolean;
  /** Finds the thresholds; `measureCrossovers` by default. */
  readonly measure?: typeof measureCrossovers;
}

export interface BackendCounters {
  /** Batches by where they were computed. */
  readonly cpu: number;
  readonly gpu: number;
  /** Batches begun on the device and finished on the CPU, because it was lost. */
  readonly fallbacks: number;
}

/** Rows of the table on which a device must agree with the CPU before it is used. */
const CHECKED_ROWS = 1_024;

/**
 * CPU and device behind one door: small batches run on the CPU, large ones on the device, by thresholds that were
 * measured when it was opened. A device that is lost, or that disagreed with the CPU at the start, is not used again; the
 * batch in hand is computed anew on the CPU, so that results are whole.
 */
export class MeasuredBackend implements FeatureBackend {
  /** Where the device stands; `gpu` until it is lost. */
  #kind: 'cpu' | 'gpu' = 'gpu';
  /** Why the device is not used, where it is not. */
  reason: string | undefined;
  readonly adapter: string;
  readonly crossovers: Crossovers;
  readonly #cpu = new CpuBackend();
  readonly #gpu: FeatureBackend;
  readonly #always: boolean;
  readonly #logger: Logger;
  #counters = { cpu: 0, gpu: 0, fallbacks: 0 };
  #isClosed = false;

  private constructor(options: MeasuredBackendOptions, crossovers: Crossovers) {
    this.#gpu = options.gpu;
    this.#always = options.always ?? false;
    this.#logger = options.logger;
    this.adapter = options.adapter;
    this.crossovers = crossovers;
    options.gpu.lost.then((reason) => this.#giveUp(reason));
  }

  /** Checks the device against the CPU and measures both: some 100 ms on a GPU. Throws `features.device-lost`. */
  static async open(options: MeasuredBackendOptions): Promise<MeasuredBackend> {
    const cpu = new CpuBackend();
    const difference = await findDisagreement(cpu, options.gpu, sampleOf(CHECKED_ROWS));
    if (difference !== undefined) throw new FeatureError('features.device-lost', difference);
    const { measure = measureCrossovers } = options;
    const crossovers = await measure(cpu, options.gpu, { clock: options.clock });
    return new MeasuredBackend(options, crossovers);
  }

  get kind(): 'cpu' | 'gpu' {
    return this.#kind;
  }

  get counters(): BackendCounters {
    return { ...this.#counters };
  }

  normalise(table: FloatTable, plan: Normalisation, out: Float32Array): Promise<void> {
    return this.#run('normalise', table, (backend) => backend.normalise(table, plan, out));
  }

  bin(table: FloatTable, columns: readonly BinColumn[], out: Uint8Array | Uint16Array): Promise<void> {
    return this.#run('bin', table, (backend) => backend.bin(table, columns, out));
  }

  reduce(table: FloatTable, keys: Uint32Array, out: Reduction): Promise<void> {
    return this.#run('reduce', table, (backend) => backend.reduce(table, keys, out));
  }

  close(): void {
    this.#isClosed = true;
    this.#kind = 'cpu';
    this.#gpu.close();
  }

  async #run(
    operation: BackendOperation,
    table: FloatTable,
    work: (backend: FeatureBackend) => Promise<void>,
  ): Promise<void> {
    if (this.#kind === 'gpu' && this.#isWorthIt(operation, table)) {
      try {
        await work(this.#gpu);
        this.#counters.gpu++;
        return;
      } catch (error) {
        if (!(error instanceof FeatureError) || error.code !== 'features.device-lost') throw error;
        this.#counters.fallbacks++;
        this.#giveUp(error.message);
      }
    }
    await work(this.#cpu);
    this.#counters.cpu++;
  }

  /** Work grows with the cells, so the threshold in rows is scaled by the width. */
  #isWorthIt(operation: BackendOperation, { rows, columns }: FloatTable): boolean {
    return this.#always || rows * columns >= this.crossovers[operation].rows * MEASURED_COLUMNS;
  }

  #giveUp(reason: string): void {
    if (this.#kind === 'cpu' || this.#isClosed) return;
    this.#kind = 'cpu';
    this.reason = reason;
    this.#logger.warn(
      { code: 'features.device-lost', adapter: this.adapter, reason },
      'the GPU is gone; features are computed on the CPU from now on',
    );
  }
}
