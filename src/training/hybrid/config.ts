import { z } from 'zod';
import { type NOVELTY_DETECTORS, OPERATING_POINTS } from '../../models/index.ts';

const weight = z.number().min(0).max(100);
const rate = z.number().min(0).max(1);

/**
 * Settings of the hybrid, one and the same for every schema. They were chosen on training files, most of them on attack
 * types left out of training (`docs/evidence/hybrid-settings.md`).
 */
export const hybridConfigSchema = z.strictObject({
  /** Ensembles that are averaged, each exposed to other made-up rows. */
  draws: z.int().min(1).max(16).default(3),
  /** Made-up rows for each normal one. */
  exposure: z.number().min(0).max(4).default(0.5),
  /** Weight of a made-up row beside a real one. */
  exposureWeight: z.number().positive().max(1).default(0.05),
  /** Share of the rows for calibration, levels and thresholds; nothing is fitted on them. */
  calibrationFraction: z.number().positive().max(0.5).default(0.15),
  /** Encoded normal rows kept for the distance to normal. */
  normals: z.int().min(1).max(100_000).default(10_000),
  /** Encoded attack rows of one type kept for the nearest known class. */
  attacksPerType: z.int().min(1).max(10_000).default(100),
  forestTrees: z.int().min(1).max(1000).default(200),
  forestSample: z.int().min(2).max(4096).default(256),
  /** Hidden widths of the autoencoder. */
  autoencoder: z.array(z.int().min(1).max(1024)).min(1).max(8).default([32, 8, 32]),
  autoencoderEpochs: z.int().min(1).max(1000).default(15),
  /** What the level of a detector counts beside the trees' margin; one of weight 0 is kept with the model and not asked. */
  weights: z
    .strictObject({
      distance: weight.default(1),
      isolation: weight.default(0),
      reconstruction: weight.default(0),
    } satisfies Record<(typeof NOVELTY_DETECTORS)[number], unknown>)
    .prefault({}),
  /** Highest level of a detector. */
  cap: z.number().positive().max(1000).default(4),
  /**
   * Balanced accuracy on held-out rows, mean over the operating points, that wariness of the unseen may cost: first the
   * detectors, then exposure give way where they cost more (`chooseCandidate`).
   */
  tolerance: rate.default(0.002),
  /**
   * Where rows have times: windows of the training part in which trees of so many rounds say what exposure costs. Where it costs
   * more than the tolerance in any (`exposureCost`), the trees without it serve. Wider than the other tolerance, since two seeds
   * of the same trees differ by about as much there.
   */
  windows: z
    .strictObject({
      count: z.int().min(0).max(16).default(3),
      rounds: z.int().min(1).max(5000).default(60),
      tolerance: rate.default(0.02),
    })
    .prefault({}),
  /** Trees for attacks like the known ones, on every row and column; they serve where exposure gives way. */
  known: z
    .strictObject({
      rounds: z.int().min(1).max(5000).default(300),
      maxLeaves: z.int().min(2).max(1024).default(63),
    })
    .prefault({}),
  /** Share of the held-out rows that may count as unlike anything in training. */
  novelShare: rate.default(0.001),
  /** False positive rates on held-out normal traffic that the thresholds are chosen for. */
  falsePositiveRates: z
    .strictObject({
      balanced: rate.default(0.02),
      quiet: rate.default(0.005),
    } satisfies Record<(typeof OPERATING_POINTS)[number], unknown>)
    .prefault({}),
  /** Whose threshold the model decides by unless told otherwise. */
  operatingPoint: z.enum(OPERATING_POINTS).default('balanced'),
});

export type HybridConfig = z.output<typeof hybridConfigSchema>;
