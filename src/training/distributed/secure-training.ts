import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { Milliseconds } from '../../base/index.ts';
import { type Bus, claimLease, type Lease } from '../../bus/index.ts';
import { canonicalJson, sha256 } from '../../crypto/index.ts';
import type { LabelledBins } from '../binning.ts';
import { type BoostedTrees, type Booster, type BoostingOptions, growTrees } from '../boosting.ts';
import { TrainingError } from '../errors.ts';
import type { HistogramSource } from '../histogram-source.ts';
import { KernelSource } from '../kernel/kernel-source.ts';
import { marginsOfShares } from '../objective.ts';
import type { Roster } from '../secure/roster.ts';
import { readExacts } from './answer.ts';
import { helloSchema } from './member-request.ts';
import { decodeMessage } from './message.ts';
import {
  checkPrivacy,
  NoisySummation,
  PrivacyLedger,
  type PrivacyOptions,
  type PrivacySpent,
} from './privacy.ts';
import { RemoteSource } from './remote-source.ts';
import { checkLeafSums, planColumns, planScales, type RunPlan } from './run-plan.ts';
import { RunStore } from './run-store.ts';
import { type DropoutPolicy, SecureSummation, type TreeParticipants } from './secure-summation.ts';
import { noRows } from './shard-rows.ts';
import { SumBounds } from './sum-bounds.ts';
import { addTree, checkTree, wireTree } from './wire-tree.ts';

export interface SecureTrainingOptions {
  readonly bus: Bus;
  /** Verified with `verifyRoster`. Its run names the run. */
  readonly roster: Roster;
  readonly policy: DropoutPolicy;
  /** Highest weight of a row; members cut theirs down to it. */
  readonly maxWeight: number;
  /**
   * Rows of one member in a released cell at least; 1 releases sums as they are, and the model is the one local training gives.
   * Noise needs 1, and sets it where nothing else is said.
   */
  readonly minCellRows: number;
  readonly answerMs: Milliseconds;
  readonly leaseMs: Milliseconds;
  readonly waitMs: Milliseconds;
  /** Noise on what is opened; such a run cannot be repeated. */
  readonly privacy?: PrivacyOptions | undefined;
}

export const SECURE_TRAINING_DEFAULTS = {
  ...{ policy: 'wait', maxWeight: 1, minCellRows: 5 },
  ...{ answerMs: 120_000, leaseMs: 10_000, waitMs: 60_000 },
} as const satisfies Partial<SecureTrainingOptions>;

/** What a secure run leaves for the manifest. */
export interface SecureRecord {
  readonly run: string;
  readonly policy: DropoutPolicy;
  readonly minCellRows: number;
  /** Rows of each member. */
  readonly rows: Readonly<Record<string, number>>;
  readonly participants: readonly TreeParticipants[];
  /** Whether the same members with the same data give the same model by these participants. */
  readonly reproducible: boolean;
  readonly privacy?: PrivacySpent;
}

const stateSchema = z.strictObject({
  bias: z.array(z.number()),
  rows: z.record(z.string(), z.int().min(0)),
  alive: z.array(z.string()),
  /** Sums under noise that the trees rest on. */
  noised: z.int().min(0),
  participants: z.array(
    z.strictObject({
      tree: z.int(),
      members: z.array(z.string()).readonly(),
      sums: z.int(),
      ended: z.boolean(),
    }),
  ),
});
type State = z.output<typeof stateSchema>;

/**
 * Training on rows that their owners show to nobody: every sum over them is one of secure aggregation. The one who coordinates
 * brings the bins and the rows that stop the training, from data of its own. `booster` grows the trees; use it with
 * `isHeldOut`. A coordinator that dies is followed by another of the same roster, data and settings.
 */
export class SecureTraining {
  readonly #options: SecureTrainingOptions;
  #record: SecureRecord | undefined;
  #store: RunStore | undefined;

  constructor(options: Pick<SecureTrainingOptions, 'bus' | 'roster'> & Partial<SecureTrainingOptions>) {
    const minCellRows = options.privacy === undefined ? SECURE_TRAINING_DEFAULTS.minCellRows : 1;
    this.#options = { ...SECURE_TRAINING_DEFAULTS, minCellRows, ...options };
  }

  readonly booster: Booster = (binned, options) => this.#boost(binned, options);

  /** After the run. */
  get record(): SecureRecord | undefined {
    return this.#record;
  }

  /** The result is safe: what the run left on the bus goes. */
  async close(): Promise<void> {
    await this.#store?.clear();
  }

  async #boost(bins: LabelledBins, options: BoostingOptions): Promise<BoostedTrees> {
    const { bus, roster, policy, answerMs, maxWeight, minCellRows, privacy } = this.#options;
    const { config, seed, validation, classes = 2, monotone } = options;
    checkLeafSums(config);
    if (privacy !== undefined) checkPrivacy(privacy, minCellRows);
    const { binning } = bins.binned;
    const outputs = classes === 2 ? 1 : classes;
    const { gradientLevels, maxLeaves, rowFraction } = config;
    const blank: RunPlan = {
      ...{ v: 1, run: roster.run, columns: planColumns(binning), outputs, bias: Array(outputs).fill(0) },
      ...{ maxWeight, gradientLevels, maxLeaves, rowFraction, seed, rows: 0, heldRows: 0, minCellRows },
    };
    const lease = await this.#lead();
    const settings = sha256(
      canonicalJson([blank, roster, policy, config, monotone ? [...monotone] : null, privacy ?? null]),
    );
    const store = new RunStore(bus, roster.run, settings);
    this.#store = store;
    const { extra, ...resume } = (await store.load()) ?? { trees: [], validationLoss: [], extra: undefined };
    const found = extra === undefined ? undefined : stateSchema.parse(extra);
    const members = found?.alive ?? roster.members.map(({ id }) => id);
    const at = { bus, roster, policy, answerMs, epoch: lease.token, lost: lease.lost };
    const held = holdRows(blank, validation, options);
    try {
      const first = new SecureSummation({ ...at, plan: settings, bias: [], members });
      const rows = found?.rows ?? (await countRows(first));
      const plan = { ...blank, rows: Object.values(rows).reduce((sum, n) => sum + n, 0) };
      const { scales } = planScales(plan);
      const starts = new Map<string, number>();
      let start = 0;
      for (const { id } of roster.members) {
        starts.set(id, start);
        start += rows[id] ?? 0;
      }
      await first.askEach((id) => ({ kind: 'open', plan, firstRow: starts.get(id) as number }));
      const digest = sha256(canonicalJson(plan));
      const bounds = new SumBounds(plan, rows);
      const opening = new SecureSummation({ ...at, plan: digest, bias: [], members: first.alive, bounds });
      const ledger = privacy && new PrivacyLedger(privacy, plan, found?.noised);
      let state: State;
      if (found === undefined) {
        const shares = await opening.askLabels(2 * Math.max(2, outputs));
        ledger?.noiseLabels(shares);
        const bias = [
          ...marginsOfShares(
            readExacts(shares).map((share) => Math.max(0, share)),
            outputs,
          ),
        ];
        state = {
          bias,
          rows,
          alive: [...opening.alive],
          participants: [...opening.participants],
          noised: ledger?.sums ?? 0,
        };
        await store.save(lease.token, { trees: [], validationLoss: [] }, state);
      } else {
        state = found;
      }
      const summation = new SecureSummation({
        ...{
          ...at,
          plan: digest,
          bias: state.bias,
          members: opening.alive,
          participants: state.participants,
          bounds,
        },
      });
      const heldSource = held?.(
        state.bias,
        resume.trees.map((tree, i) => wireTree(tree, i % outputs)),
      );
      try {
        const grown = await growTrees(
          new RemoteSource({
            ...{ binning, outputs, scales, heldRows: 0, held: heldSource, bothSides: minCellRows > 1 },
            summation: ledger === undefined ? summation : new NoisySummation(summation, ledger),
            trees: resume.trees.map((tree, i) => wireTree(tree, i % outputs)),
          }),
          {
            ...{ config, seed, scales, bias: Float64Array.from(state.bias), monotone, resume },
            onProgress: (progress) =>
              options.onProgress?.({ ...progress, aggregation: summation.progress() }),
            onRound: async (soFar) => {
              const { alive, participants } = summation;
              const now = { ...state, alive: [...alive], participants, noised: ledger?.sums ?? 0 };
              await store.save(lease.token, soFar, now);
              await options.onRound?.(soFar);
            },
          },
        );
        this.#record = {
          ...{ run: roster.run, policy, minCellRows, rows, participants: summation.participants },
          ...{ reproducible: ledger === undefined, ...(ledger && { privacy: ledger.spent() }) },
        };
        await summation.askEach(() => ({ kind: 'end' })).catch(() => {}); // They let go by themselves.
        return grown;
      } finally {
        await heldSource?.close();
      }
    } finally {
      await lease.release().catch(() => {}); // Lost, or it runs out by itself.
    }
  }

  async #lead(): Promise<Lease> {
    const { bus, roster, leaseMs, waitMs } = this.#options;
    const until = performance.now() + waitMs;
    for (;;) {
      const holder = randomUUID();
      const lease = await claimLease(bus, `train.${roster.run}.coordinator`, { holder, ttlMs: leaseMs });
      if (lease !== undefined) return lease;
      if (performance.now() > until) {
        throw new TrainingError('training.lease-lost', `run ${roster.run} has a coordinator that goes on`);
      }
    }
  }
}

async function countRows(summation: SecureSummation): Promise<Record<string, number>> {
  const answers = await summation.askEach(() => ({ kind: 'hello' }));
  return Object.fromEntries(
    [...answers].map(([id, answer]) => [id, decodeMessage(answer, helloSchema).head.rows]),
  );
}

/** The coordinator's own rows, on which only the loss is computed: a source without rows to train on. */
export function holdRows(
  plan: RunPlan,
  validation: LabelledBins | undefined,
  { threads = 1 }: Pick<BoostingOptions, 'threads'>,
):
  | ((
      bias: readonly number[],
      trees: readonly ReturnType<typeof wireTree>[],
    ) => HistogramSource & { close(): Promise<void> })
  | undefined {
  if (validation === undefined || validation.binned.rows === 0) return undefined;
  return (bias, trees) => {
    const { outputs, gradientLevels, maxLeaves, rowFraction, seed } = plan;
    const source = new KernelSource({
      ...{ training: noRows(validation.binned.binning), validation, outputs, bias: Float64Array.from(bias) },
      ...{ gradientLevels, maxLeaves, rowFraction, seed, threads, ...planScales(plan) },
    });
    for (const tree of trees) {
      checkTree(tree, outputs, plan.columns.length);
      addTree(tree, validation.binned, source.margins(tree.output).held);
    }
    return source;
  };
}
