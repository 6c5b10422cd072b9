import { z } from 'zod';

const count = z.number().min(0);

/** One point of the course of a training: a round of trees, or an epoch of a network. */
export const curvePointSchema = z.strictObject({
  part: z.enum(['trees', 'autoencoder']),
  /** From 1 on; of a hybrid the rounds of all its ensembles are counted as one run. */
  round: z.int().min(1),
  rounds: z.int().min(1),
  /** Mean loss on rows held out. */
  validationLoss: z.number().optional(),
  /** Mean squared difference of the rows as they came. */
  trainingLoss: z.number().optional(),
  rowsPerSecond: count.nullable(),
  seconds: count,
  cpuSeconds: count,
  rssBytes: count,
  /** Waits for CPU or memory so far. */
  pauses: count,
  pausedMs: count,
  /** Where rows lie with others: what it took so far to sum over them. */
  aggregation: z
    .strictObject({
      ...{ workers: count, sums: count, bytesSent: count, bytesReceived: count, lost: count, late: count },
    })
    .optional(),
});

export type CurvePoint = Readonly<z.output<typeof curvePointSchema>>;
