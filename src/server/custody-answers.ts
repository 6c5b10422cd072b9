import { z } from 'zod';

/** Answers of what becomes of versions after their publication. */

const text = z.string();
const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/);
const hold = z.looseObject({ id: z.int(), reason: text, principal: text, time: text });

export const tags = z.looseObject({ name: text, version: text, tags: z.record(text, text) });
export const placedHold = hold;
export const released = z.looseObject({ released: z.int() });
export const lineage = z.looseObject({
  name: text,
  version: text,
  digest,
  data: z.looseObject({ training: digest, gates: digest, schema: digest }),
  replaced: z.array(z.looseObject({ alias: text, version: text, intent: z.int() })),
  replacedBy: z.array(z.looseObject({ alias: text, version: text, intent: z.int() })),
});
export const bom = z.looseObject({ bomFormat: z.literal('CycloneDX'), specVersion: z.literal('1.6') });
export const card = z.looseObject({ markdown: text });
export const pruned = z.looseObject({
  name: text,
  dryRun: z.boolean(),
  versions: z.array(z.looseObject({ version: text, goes: z.boolean(), stays: z.array(text) })),
  pruned: z.array(text),
});
export const eraseStatus = z.looseObject({
  name: text,
  version: text,
  state: z.enum(['pending', 'complete']),
  method: text,
  reason: text,
  principal: text,
  intent: z.int(),
});
export const escrowed = z.looseObject({ escrowed: z.int(), until: text });
export const restored = z.looseObject({ restored: z.array(text) });
