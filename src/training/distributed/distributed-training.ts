import { randomUUID } from 'node:crypto';
import type { Milliseconds } from '../../base/index.ts';
import { type Bus, claimLease, type Lease } from '../../bus/index.ts';
import { canonicalJson, sha256 } from '../../crypto/index.ts';
import type { LabelledBins } from '../binning.ts';
import {
  type BoostedTrees,
  type Booster,
  type BoostingOptions,
  growTrees,
  highestWeight,
  runConstants,
} from '../boosting.ts';
import { TrainingError } from '../errors.ts';
import type { GradientSource, OpenGradients } from '../hybrid/gradient-source.ts';
import { gradientLength } from '../hybrid/network-gradients.ts';
import { LeasedSummation } from './leased-summation.ts';
import { encodePoints, type NetworkPlan, packParameters } from './network-shard.ts';
import { RemoteSource } from './remote-source.ts';
import { checkLeafSums, planColumns, type RunPlan } from './run-plan.ts';
import { RunStore } from './run-store.ts';
import { cutShard, encodeShard, shardStart } from './shard-rows.ts';
import { wireTree } from './wire-tree.ts';
import { WorkerRoll } from './worker-roll.ts';

export interface DistributionOptions {
  readonly bus: Bus;
  /** Names the run: a coordinator of the same name, data and settings goes on where another one died. a-z, 0-9 and -, 40 at most. */
  readonly run: string;
  /** Workers to wait for before the run begins. */
  readonly workers: number;
  /** Shards the rows are cut into; the result does not depend on it. Absent: two a worker. */
  readonly shards?: number;
  /** A worker without a heartbeat, or a coordinator without a renewal, has lost its leases after this. */
  readonly leaseMs: Milliseconds;
  readonly answerMs: Milliseconds;
  readonly waitMs: Milliseconds;
}

export const DISTRIBUTION_DEFAULTS = { leaseMs: 10_000, answerMs: 120_000, waitMs: 60_000 } as const;

/** Shards of a run at most. */
const MAX_SHARDS = 256;

/**
 * Training on workers of a bus. `booster` grows each ensemble of a model on them; the trees are those that one process grows,
 * to the bit. After each round the trees lie on the bus: a coordinator that dies is followed by one of the same run,
 * which takes the lease and goes on. Shards travel sealed under keys that only orders hold. `close` leaves nothing behind.
 */
export class DistributedTraining {
  readonly #options: DistributionOptions;
  readonly #roll: WorkerRoll;
  readonly #stores: RunStore[] = [];
  #runs = 0;

  constructor(options: Pick<DistributionOptions, 'bus' | 'run' | 'workers'> & Partial<DistributionOptions>) {
    this.#options = { ...DISTRIBUTION_DEFAULTS, ...options };
    this.#roll = new WorkerRoll(options.bus, this.#options.leaseMs);
  }

  /** Throws `training.workers-missing` and `training.lease-lost`. */
  readonly booster: Booster = (training, options) => this.#boost(training, options);

  /** Sums the gradients of a network on the workers. Throws as `booster`. */
  readonly gradients: OpenGradients = async (points, plan) => {
    const { bus, waitMs, answerMs } = this.#options;
    const run = this.#nextRun();
    const work: NetworkPlan = { v: 1, kind: 'network', run, ...plan, widths: [...plan.widths] };
    const { lease, shards } = await this.#begin(run);
    const width = plan.widths[0] as number;
    const cut = (shard: number) => shardStart(plan.rows, shard, shards);
    const summation = new LeasedSummation({
      ...{ bus, roll: this.#roll, plan: work, shards, answerMs, waitMs },
      rowsOf: (shard) =>
        encodePoints(points.subarray(cut(shard) * width, cut(shard + 1) * width), cut(shard), width),
      ...{ epoch: lease.token, lost: lease.lost },
    });
    return {
      sum: async (parameters, { epoch, batch }) => {
        // Nothing stays with the workers from batch to batch: each is a round.
        await summation.startRound(batch, []);
        const question = { kind: 'gradients', epoch, batch, parameters: packParameters(parameters) } as const;
        return await summation.ask(question, gradientLength(plan.widths));
      },
      close: async () => {
        await summation.close();
        await lease.release().catch(() => {}); // Lost, or it runs out by itself.
      },
    } satisfies GradientSource;
  };

  /** The run is over, its result safe: what it left on the bus goes. */
  async close(): Promise<void> {
    this.#roll.close();
    for (const store of this.#stores) await store.clear();
  }

  /** Stops without a trace of an end, as a coordinator that died would. */
  abandon(): void {
    this.#roll.close();
  }

  async #boost(training: LabelledBins, options: BoostingOptions): Promise<BoostedTrees> {
    const { bus, waitMs, answerMs } = this.#options;
    const { config, seed, validation, monotone, onProgress, classes = 2 } = options;
    checkLeafSums(config);
    const run = this.#nextRun();
    const { outputs, bias, scales } = runConstants(training, config, classes);
    const plan: RunPlan = {
      ...{ v: 1, run, columns: planColumns(training.binned.binning), outputs, bias: [...bias], seed },
      maxWeight: highestWeight(training.weights),
      ...{
        gradientLevels: config.gradientLevels,
        maxLeaves: config.maxLeaves,
        rowFraction: config.rowFraction,
      },
      ...{ rows: training.binned.rows, heldRows: validation?.binned.rows ?? 0, minCellRows: 1 },
    };
    const { lease, shards } = await this.#begin(run);
    const store = new RunStore(bus, run, planDigest(plan, training, validation, options));
    this.#stores.push(store);
    const resume = (await store.load()) ?? options.resume;
    const summation = new LeasedSummation({
      ...{ bus, roll: this.#roll, plan, shards, answerMs, waitMs },
      rowsOf: (shard) => encodeShard(cutShard(training, validation, shard, shards)),
      ...{ epoch: lease.token, lost: lease.lost },
    });
    try {
      const source = new RemoteSource({
        ...{ binning: training.binned.binning, outputs, scales, heldRows: plan.heldRows, summation },
        trees: resume?.trees.map((tree, i) => wireTree(tree, i % outputs)),
      });
      const grown = await growTrees(source, {
        ...{ config, seed, scales, bias, monotone, resume },
        onProgress: (progress) => onProgress?.({ ...progress, aggregation: summation.progress() }),
        onRound: async (soFar) => {
          await store.save(lease.token, soFar, null);
          await options.onRound?.(soFar);
        },
      });
      await summation.close();
      return grown;
    } finally {
      await lease.release().catch(() => {}); // Lost, or it runs out by itself.
    }
  }

  /** Coordinators of one name number their runs alike. */
  #nextRun(): string {
    return `${this.#options.run}-${this.#runs++}`;
  }

  /** Waits for the workers and takes the lead. */
  async #begin(run: string): Promise<{ readonly lease: Lease; readonly shards: number }> {
    const { workers, waitMs } = this.#options;
    if (!(await this.#roll.waitFor(workers, waitMs))) {
      const found = this.#roll.alive().length;
      throw new TrainingError(
        'training.workers-missing',
        `expected ${workers} workers within ${waitMs} ms, got ${found}`,
      );
    }
    const shards = Math.max(1, Math.min(MAX_SHARDS, this.#options.shards ?? 2 * this.#roll.alive().length));
    return { lease: await this.#lead(run), shards };
  }

  async #lead(run: string): Promise<Lease> {
    const { bus, leaseMs, waitMs } = this.#options;
    const until = performance.now() + waitMs;
    for (;;) {
      const holder = randomUUID();
      const lease = await claimLease(bus, `train.${run}.coordinator`, { holder, ttlMs: leaseMs });
      if (lease !== undefined) return lease;
      if (performance.now() > until) {
        throw new TrainingError('training.lease-lost', `run ${run} has a coordinator that goes on`);
      }
    }
  }
}

/** Names everything the trees depend on: a successor with other data or settings would not go on but go astray. */
function planDigest(
  plan: RunPlan,
  training: LabelledBins,
  validation: LabelledBins | undefined,
  { config, monotone }: BoostingOptions,
) {
  const rows = sha256(encodeShard(cutShard(training, validation, 0, 1)));
  return sha256(canonicalJson([plan, config, monotone === undefined ? null : [...monotone], rows]));
}
