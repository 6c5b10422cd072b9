import { z } from 'zod';

const days = (fallback: number, about: string) =>
  z.number().min(0).max(36_500).default(fallback).describe(about);

/** What stays when the registry is tidied, and how long copies of key wraps may live. */
export const retentionConfigSchema = z.strictObject({
  keep: z.int().min(0).max(100_000).default(10).describe('newest versions of each model that stay'),
  keepDays: days(90, 'younger versions stay; both rules hold'),
  auditDays: days(365, 'versions that were champion within these days stay'),
  automatic: z.boolean().default(false).describe('prune a model by these rules after each publication'),
  escrowDays: z
    .number()
    .min(1)
    .max(365)
    .default(30)
    .describe('longest life of a key wrap in escrow, and so of an erase that is pending'),
  escrowFolder: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe('where wraps are escrowed for backups, apart from them; escrow in the state by default'),
});

export type RetentionConfig = z.output<typeof retentionConfigSchema>;

export const RETENTION_DEFAULTS: RetentionConfig = retentionConfigSchema.parse({});

export const DAY_MS = 86_400_000;
