import { z } from 'zod';
import { VERDICTS_OF_ANALYSTS } from '../alerts/index.ts';
import { parseNetwork } from '../response/index.ts';
import { SERVER_LIMITS } from './limits.ts';
import { uidPath } from './requests.ts';

const { bodyBytes } = SERVER_LIMITS;
const text = z.string();
const verdict = z.enum(VERDICTS_OF_ANALYSTS);
const judgement = z.strictObject({
  uid: text,
  verdict,
  note: text,
  principal: text,
  time: z.number(),
  kind: text,
  model: text,
});
const interval = z.strictObject({ value: z.number(), low: z.number(), high: z.number() });
const network = text
  .max(49)
  .refine((each) => parseNetwork(each) !== undefined, 'expected an address or a network');
const conditions = {
  kind: text.max(64).exactOptional(),
  source: network.exactOptional(),
  destination: network.exactOptional(),
};
const rule = z.strictObject({
  id: text,
  ...conditions,
  untilMs: z.number(),
  reason: text,
  principal: text,
  createdMs: z.number(),
});
const line = z.string().trim().min(1).max(1_000);

/** Routes of what people say of detections; part of `ROUTES`, which checks their form. */
export const TRIAGE_ROUTES = {
  'POST /v1/detections/:uid/verdict': {
    role: 'operator',
    about: 'Says what a detection was: an attack, a benign trigger, or nothing. Replaces an earlier verdict.',
    path: uidPath,
    body: z.strictObject({ verdict, note: z.string().trim().max(4_000).default('') }),
    bodyBytes,
    answer: judgement,
    status: 201,
  },
  'GET /v1/verdicts': {
    role: 'viewer',
    about: 'Every verdict with its detection, oldest first, a line each: labelled data.',
    query: z.strictObject({ format: z.enum(['jsonl']).default('jsonl') }),
    answer: 'application/x-ndjson',
  },
  'GET /v1/accuracy': {
    role: 'viewer',
    about: 'Precision by model, as the verdicts measure it, with exact 95 % intervals.',
    answer: z.strictObject({
      models: z.array(
        z.strictObject({
          model: text,
          judged: z.int(),
          true: z.int(),
          benignTrigger: z.int(),
          false: z.int(),
          precision: interval,
          sightPrecision: interval,
        }),
      ),
    }),
  },
  'GET /v1/suppressions': {
    role: 'viewer',
    about: 'Rules that silence notices, and whether they are in force.',
    answer: z.strictObject({ rules: z.array(rule.extend({ active: z.boolean() })) }),
  },
  'POST /v1/suppressions': {
    role: 'operator',
    about: 'Silences notices of what fits every condition, until it expires. What it silences is stored.',
    body: z.strictObject({
      ...conditions,
      hours: z.number().positive().max(8_760).describe('until it expires'),
      reason: line,
    }),
    bodyBytes,
    answer: rule,
    status: 201,
  },
  'DELETE /v1/suppressions/:id': {
    role: 'operator',
    about: 'Ends such a rule.',
    path: z.strictObject({ id: z.string().regex(/^[0-9a-f]{16}$/) }),
    answer: rule,
  },
} as const;
