import { z } from 'zod';
import type { TreeParticipants } from './secure-summation.ts';
import type { SecureRecord } from './secure-training.ts';

const publishedSchema = z.looseObject({
  v: z.literal(1),
  run: z.string(),
  policy: z.enum(['wait', 'survivors']),
  minCellRows: z.int().min(1),
  maxWeight: z.number().positive(),
  rows: z.record(z.string(), z.int().min(0)),
  /** Whoever was in a sum with whom. */
  groups: z.array(z.array(z.string())),
  /** A tree a row: its number (0: weights of the classes), its group, its sums, and whether it was broken off. */
  trees: z.array(z.tuple([z.int().min(0), z.int().min(0), z.int().min(0), z.boolean()])),
  reproducible: z.boolean(),
  privacy: z
    .object({
      mechanism: z.literal('gaussian'),
      ...{ epsilon: z.number(), delta: z.number(), rho: z.number(), noise: z.number(), sums: z.int() },
    })
    .optional(),
  /** Whose signature the members went by. */
  approver: z.string(),
  /** Digest of the roster. */
  roster: z.string(),
  threshold: z.int(),
  minGroup: z.int(),
  /** Whether all members were this process, with keys of a moment: an exercise that hides nothing from anyone. */
  rehearsal: z.boolean(),
});

/** What a manifest says of a secure run: its record, with each group named once, and the rules of its roster. */
export type PublishedSecureRecord = Readonly<z.output<typeof publishedSchema>>;

export function publishRecord(
  record: SecureRecord,
  rules: Pick<
    PublishedSecureRecord,
    'maxWeight' | 'approver' | 'roster' | 'threshold' | 'minGroup' | 'rehearsal'
  >,
): PublishedSecureRecord {
  const { participants, run, policy, minCellRows, rows, reproducible, privacy } = record;
  const groups: string[][] = [];
  const trees = participants.map(({ tree, members, sums, ended }): PublishedSecureRecord['trees'][number] => {
    let group = groups.findIndex((each) => each.join() === members.join());
    if (group === -1) group = groups.push([...members]) - 1;
    return [tree, group, sums, ended];
  });
  return {
    ...{ v: 1, run, policy, minCellRows, rows, groups, trees, reproducible, ...rules },
    ...(privacy && { privacy }),
  };
}

/** The record of a manifest's configuration; undefined where the model comes from no secure run. */
export function publishedRecord(configuration: unknown): PublishedSecureRecord | undefined {
  const secure = (configuration as { readonly secure?: unknown } | null)?.secure;
  return publishedSchema.safeParse(secure).data;
}

/** What `replayBooster` goes by. */
export function participantsOf({ groups, trees }: PublishedSecureRecord): readonly TreeParticipants[] {
  return trees.map(([tree, group, sums, ended]) => ({ tree, members: groups[group] ?? [], sums, ended }));
}
