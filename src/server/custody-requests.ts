import { z } from 'zod';
import { VERSION_FORM } from '../registry/index.ts';

/** Request shapes of what becomes of versions after their publication. */

const name = z.string().regex(/^[a-z][a-z0-9-]{0,62}$/, 'expected lowercase letters, digits and dashes');
const version = z.string().max(71).regex(VERSION_FORM, 'expected a version such as 1.2.0');
const reason = z.string().min(1).max(500);

export const custodyPath = z.strictObject({ name, version });
export const custodyNamePath = z.strictObject({ name });

export const tagsBody = z.strictObject({
  tags: z
    .record(z.string().max(63), z.string().max(256).nullable())
    .describe('values by name; null takes a tag away'),
});
export const holdBody = z.strictObject({
  reason,
  until: z.iso.datetime({ offset: true }).optional().describe('RFC 3339; for good where left out'),
});
export const releaseBody = z.strictObject({ hold: z.int().min(0), reason });
export const pruneBody = z.strictObject({
  keep: z.int().min(0).max(100_000).optional(),
  keepDays: z.number().min(0).max(36_500).optional(),
  dryRun: z.boolean().default(false),
});
export const eraseBody = z.strictObject({ reason });
