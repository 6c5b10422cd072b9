import { z } from 'zod';
import { KEY_PURPOSES } from '../crypto/index.ts';
import * as answers from './answers.ts';
import { SERVER_LIMITS } from './limits.ts';

const { bodyBytes } = SERVER_LIMITS;

const keyPath = z.strictObject({ id: z.string().regex(/^[a-z0-9-]{1,64}$/) });
const rotateBody = z.strictObject({
  purpose: z.enum(KEY_PURPOSES),
  resume: z.boolean().default(false).describe('make no new key; finish wrapping anew'),
});
const revokeBody = z.strictObject({
  from: z.iso
    .datetime({ offset: true })
    .transform((text) => new Date(text).toISOString())
    .optional()
    .describe('what was signed at this time or later does not verify either'),
});
const key = z.looseObject({ id: z.string(), purpose: z.string(), algorithm: z.string(), state: z.string() });
const rotated = z.looseObject({ purpose: z.string(), key, rewrapped: z.int() });

/** Routes of the keys; part of `ROUTES`, which checks their form. */
export const KEY_ROUTES = {
  'GET /v1/keys': { role: 'viewer', about: 'Public parts of the keys.', answer: answers.keys },
  'POST /v1/keys/rotate': {
    role: 'admin',
    about: 'Makes a new active key of a purpose; for wrapping every data key is wrapped anew.',
    body: rotateBody,
    bodyBytes,
    answer: rotated,
  },
  'POST /v1/keys/:id/revoke': {
    role: 'admin',
    about: 'Ends every use of a key for good.',
    path: keyPath,
    body: revokeBody,
    bodyBytes,
    answer: key,
  },
} as const;
