import { z } from 'zod';

/** Counts by a name that may come from the wire: few, short and printable. */
const counts = z
  .record(z.string().max(128), z.number().min(0).max(Number.MAX_SAFE_INTEGER))
  .refine((table) => Object.keys(table).length <= 128, 'expected at most 128 names')
  .default({});
const count = z.number().min(0).max(Number.MAX_SAFE_INTEGER);

/** What one run made of a source, as it goes into the log. */
export const extractionBody = z.strictObject({
  command: z.enum(['extract', 'watch', 'train', 'evaluate']),
  source: z.string().min(1).max(1_024).describe('a path, an interface, an address or -'),
  sourceKind: z.string().max(32),
  schema: z.string().regex(/^sha256:[0-9a-f]{64}$/),
  packets: count,
  bytes: count,
  flows: count,
  rejected: count.describe('flows that the schema refused'),
  rejects: counts.describe('those, by code and column'),
  malformed: counts,
  limits: counts.describe('limits that were hit'),
  lost: counts.describe('what never arrived, by where it was lost'),
  complete: z.boolean().describe('false where the run was interrupted or failed'),
});
