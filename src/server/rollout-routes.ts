import { z } from 'zod';
import { VERSION_FORM } from '../registry/index.ts';
import { SERVER_LIMITS } from './limits.ts';

const { bodyBytes } = SERVER_LIMITS;
const text = z.string();
const name = text.regex(/^[a-z][a-z0-9-]{0,62}$/, 'expected lowercase letters, digits and dashes');
const version = text.max(71).regex(VERSION_FORM, 'expected a version such as 1.2.0');
const path = z.strictObject({ name });
const verdicts = z.strictObject({ benign: z.int(), attack: z.int(), abstain: z.int() });
const latency = z.strictObject({
  count: z.int(),
  p50: z.number(),
  p99: z.number(),
  max: z.number(),
  mean: z.number(),
});
const side = z.strictObject({
  version: text,
  decidedRows: z.int(),
  mirroredRows: z.int(),
  errors: z.record(text, z.int()),
  latencyMs: latency,
});
const rollout = z.strictObject({
  name: text,
  kind: z.enum(['shadow', 'canary']),
  percent: z.number().nullable(),
  startedBy: text,
  startedAt: text,
  endedAt: text.nullable(),
  endedBecause: z.enum(['stopped', 'candidate-failed', 'champion-moved', 'unloaded']).nullable(),
  waitingRows: z.int(),
  champion: side,
  candidate: side,
  comparedRows: z.int(),
  agreement: z.strictObject({ benign: verdicts, attack: verdicts, abstain: verdicts }),
  agreed: z.number().nullable(),
  scorePsi: z.number().nullable(),
  droppedRows: z.int(),
});

/** Routes of versions that run beside a champion; part of `ROUTES`, which checks their form. */
export const ROLLOUT_ROUTES = {
  'GET /v1/models/:name/rollout': {
    role: 'viewer',
    about: 'The version that runs beside the champion, or the last that did, compared with it.',
    path,
    answer: rollout,
  },
  'POST /v1/models/:name/shadow': {
    role: 'operator',
    about: 'Shows a version what the champion answers, and compares; it never decides.',
    path,
    body: z.strictObject({ version }),
    bodyBytes,
    answer: rollout,
    status: 201,
  },
  'POST /v1/models/:name/canary': {
    role: 'approver',
    about: 'Lets a version that may be promoted decide for a share of the sources.',
    path,
    body: z.strictObject({ version, percent: z.number().gt(0).max(100) }),
    bodyBytes,
    answer: z.strictObject({
      rollout,
      admission: z.strictObject({
        name: text,
        version: text,
        percent: z.number(),
        intent: z.int(),
        approvals: z.array(text),
        gates: z.enum(['submitter', 'evaluator']),
      }),
    }),
    status: 201,
  },
  'POST /v1/models/:name/rollout/stop': {
    role: 'operator',
    about: 'Ends what runs beside the champion, at once.',
    path,
    answer: rollout,
  },
} as const;
