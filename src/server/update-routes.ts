import { z } from 'zod';
import { SERVER_LIMITS } from './limits.ts';

const name = z.string().regex(/^[a-z][a-z0-9-]{0,62}$/, 'expected lowercase letters, digits and dashes');
const names = z.array(name).min(1).max(256).optional();
const days = z.number().min(0.01).max(3_650).optional();
const versions = z.looseObject({
  root: z.int(),
  targets: z.int(),
  snapshot: z.int(),
  timestamp: z.int(),
});
const files = z.array(z.looseObject({ name: z.string(), bytes: z.string() }));

/** Routes of models from and for other sites; part of `ROUTES`, which checks their form. */
export const UPDATE_ROUTES = {
  'POST /v1/updates/publish': {
    role: 'operator',
    about: 'Signs the next metadata of the TUF repository of champions, and gives all its files in base64.',
    body: z.strictObject({
      models: names.describe('every model with a champion by default'),
      expiryDays: z
        .strictObject({ root: days, targets: days, snapshot: days, timestamp: days })
        .optional()
        .describe('how long each kind of metadata is good for'),
    }),
    bodyBytes: SERVER_LIMITS.bodyBytes,
    answer: z.looseObject({ versions, models: z.array(z.string()), metadata: files, targets: files }),
  },
  'POST /v1/updates/pull': {
    role: 'operator',
    about: 'Takes in the models that another site offers by TUF, through the gates here.',
    body: z.strictObject({
      url: z.string().min(1).max(1_024),
      root: z
        .string()
        .max(1_000_000)
        .regex(/^[A-Za-z0-9+/]+={0,2}$/, 'expected base64')
        .transform((text) => Buffer.from(text, 'base64'))
        .optional()
        .describe('root metadata in base64; needed at the first pull from a repository'),
      models: names.describe('everything that is offered by default'),
    }),
    bodyBytes: SERVER_LIMITS.bodyBytes,
    answer: z.looseObject({
      url: z.string(),
      versions,
      models: z.array(
        z.looseObject({
          name: z.string(),
          version: z.string(),
          digest: z.string(),
          state: z.enum(['imported', 'present']),
        }),
      ),
    }),
  },
} as const;
