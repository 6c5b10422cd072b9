import { z } from 'zod';

export const word = z.string().min(1).max(256);

/** What the header of every model file says of a detector, whatever it is made of. */
export const DETECTOR_FIELDS = {
  schemaId: z.string().regex(/^sha256:[0-9a-f]{64}$/),
  sourceKinds: z.array(word).max(64),
  columns: z
    .array(z.strictObject({ name: word, categories: z.int().min(0).max(256) }))
    .min(1)
    .max(65_535),
  threshold: z.number().min(0).max(1),
};

export const CALIBRATION_FIELD = z.strictObject({
  kind: z.literal('platt'),
  slope: z.number().positive(),
  intercept: z.number(),
});
