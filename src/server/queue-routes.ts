import { z } from 'zod';
import { SERVER_LIMITS } from './limits.ts';
import { eventsBody, eventsQuery } from './requests.ts';

const text = z.string();
const counts = z.record(text, z.int());

/** What is known of a queued event. */
const event = z.looseObject({
  id: text.describe('32 hexadecimal digits'),
  state: z.enum(['waiting', 'done', 'failed']).describe('waiting: acknowledged, and no result is kept'),
  storedAt: text.optional().describe('of the result, RFC 3339'),
  route: text.optional(),
  worker: text.optional(),
  flows: z.int().optional(),
  rejects: counts.optional(),
  verdicts: z.looseObject({ attack: z.int(), benign: z.int(), abstain: z.int() }).optional(),
  decisions: counts.optional().describe('on the attacks among them'),
  detections: z.array(text).optional().describe('uids of the findings that it raised or changed'),
  failed: z.looseObject({ code: text, message: text }).optional(),
});

/** Headers of the route that queues events. */
export const queueHeaders = z.looseObject({
  'idempotency-key': z
    .string()
    .regex(/^[\x21-\x7e]{1,128}$/, 'expected 1 to 128 visible characters')
    .optional()
    .describe('events of one caller under the same key are one event: send again what was not answered'),
});

/** Routes of events that wait for workers; part of `ROUTES`, which checks their form. */
export const QUEUE_ROUTES = {
  'POST /v1/events/queue': {
    role: 'submitter',
    about:
      'Queues flows for the workers as one event; answered when the bus holds it. Takes what POST /v1/events takes.',
    query: eventsQuery,
    headers: queueHeaders,
    body: eventsBody,
    accepts: ['application/json', 'application/x-ndjson', 'text/tab-separated-values'],
    bodyBytes: SERVER_LIMITS.eventsBytes,
    answer: event,
    status: 202,
  },
  'GET /v1/events/:id': {
    role: 'viewer',
    about: 'What a queued event came to, or that it waits.',
    path: z.strictObject({ id: z.string().regex(/^[0-9a-f]{32}$/, 'expected 32 hexadecimal digits') }),
    answer: event,
  },
} as const;
