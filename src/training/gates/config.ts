import { z } from 'zod';

const share = z.number().min(0).max(1);

/** Thresholds a candidate has to keep. Every leaf has a default, unknown keys are refused. */
export const gateConfigSchema = z.strictObject({
  minAccuracy: share.default(0.75),
  /** Highest false positive rate. */
  maxFpr: share.default(0.05),
  minRecall: share.default(0.5),
  /** Balanced accuracy that a candidate may lose against the champion: the low end of the paired difference counts. */
  maxWorse: share.default(0.02),
  /** Share of the rows of each kind of attack that must be found. */
  minKindRecall: share.default(0.25),
  /** Other floors, by kind. */
  kindRecall: z.record(z.string().max(128), share).default({}),
  /** A kind with fewer rows has no gate: its recall could be anything. */
  minKindRows: z.int().min(1).default(50),
  /** Expected calibration error, over `calibrationBins` equally wide bins of the probability. */
  maxCalibrationError: share.default(0.1),
  calibrationBins: z.int().min(2).max(100).default(10),
  /** Mean squared difference of probability and label. */
  maxBrier: share.default(0.15),
  /** Recall that may be lost when attacks move their columns within `reachFactor`. */
  maxRecallLoss: share.default(0.15),
  /** How many times as many packets, as long packets and as much time an attacker may spend. */
  reachFactor: z.number().min(1).max(100).default(1.5),
  /** Ways an attacker tries; a row counts as found where every one of them is. */
  reachDraws: z.int().min(1).max(100).default(3),
  /** Attack rows that are moved, drawn by seed. */
  reachRows: z.int().min(1).max(1_000_000).default(2_000),
  reachSeed: z.int().min(0).max(0xffffffff).default(1),
  /** Share of the measured rows that stand among those trained on, too. */
  maxDuplicateShare: share.default(0.1),
  /** Balanced accuracy that a single column may reach by itself; above it, it is taken for a leak of the label. */
  maxStumpAccuracy: share.default(0.998),
  /** Median time to score one row by itself, in microseconds on this machine. Lenient: it catches runaways. */
  maxLatencyUs: z.number().positive().default(1000),
  /** Size of the model file. */
  maxBytes: z.int().positive().default(67_108_864),
  /** CPU time of training, all threads. */
  maxTrainCpuSeconds: z.number().positive().default(7_200),
  /** Highest resident memory of the process while it trained. */
  maxTrainBytes: z.int().positive().default(8_589_934_592),
});

export type GateConfig = z.output<typeof gateConfigSchema>;
