import { SeededRandom } from '../../base/index.ts';
import { counterHash } from '../quantization.ts';
import { gradientLength } from './network-gradients.ts';
import { NetworkKernel } from './network-kernel.ts';

/** What everyone who holds points of a network's training has to know. */
export interface GradientPlan {
  /** From input to output. */
  readonly widths: readonly number[];
  /** Points of all who hold any. */
  readonly rows: number;
  /** Rows of a batch. */
  readonly batch: number;
  /** Of the order of the rows in each epoch. */
  readonly seed: number;
}

/** One step of the training. */
export interface BatchOf {
  readonly epoch: number;
  /** Number of the batch within the epoch. */
  readonly batch: number;
}

/** The points of a network's training, wherever they lie, as the one who changes its weights sees them: sums, never points. */
export interface GradientSource {
  /** Sums over a batch at these parameters (`packNetwork`): int32 as `gradientLength` lays them out, the caller's. */
  sum(parameters: Float32Array<ArrayBuffer>, of: BatchOf): Promise<Int32Array>;
  close(): Promise<void>;
}

/** Lays points out to be summed over: in this process, or with workers. Points: Float32Array, row-major rows x width. */
export type OpenGradients = (points: Float32Array, plan: GradientPlan) => Promise<GradientSource>;

/** Neighbouring points of a training: all of them, or a shard. An epoch's order follows from its number alone. */
export class PointShard {
  readonly #points: Float32Array;
  readonly #plan: GradientPlan;
  readonly #firstRow: number;
  readonly #kernel: NetworkKernel;
  readonly #order: number[];
  #epoch = -1;

  constructor(points: Float32Array, plan: GradientPlan, firstRow = 0) {
    this.#points = points;
    this.#plan = plan;
    this.#firstRow = firstRow;
    this.#kernel = new NetworkKernel(plan.widths, plan.batch);
    this.#order = new Array<number>(plan.rows);
  }

  /** The sums over those of a batch that are here. */
  sum(parameters: Float32Array, { epoch, batch }: BatchOf): Int32Array {
    const { widths, rows, batch: size } = this.#plan;
    const width = widths[0] as number;
    this.#draw(epoch);
    const held = this.#points.length / width;
    let n = 0;
    for (let i = batch * size; i < Math.min(rows, (batch + 1) * size); i++) {
      const r = (this.#order[i] as number) - this.#firstRow;
      if (r >= 0 && r < held) this.#kernel.setRow(n++, this.#points, r * width);
    }
    const sums = new Int32Array(gradientLength(widths));
    this.#kernel.load(parameters);
    this.#kernel.addSums(n, sums);
    return sums;
  }

  #draw(epoch: number): void {
    if (epoch === this.#epoch) return;
    for (let i = 0; i < this.#order.length; i++) this.#order[i] = i;
    new SeededRandom(counterHash(this.#plan.seed, epoch, 0)).shuffle(this.#order);
    this.#epoch = epoch;
  }
}

/** Points of this process. */
export const openLocalGradients: OpenGradients = async (points, plan) => {
  const shard = new PointShard(points, plan);
  return { sum: async (parameters, of) => shard.sum(parameters, of), close: async () => {} };
};
