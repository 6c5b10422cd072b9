import { z } from 'zod';
import { RUN_STATES } from '../guardian/index.ts';
import { curvePointSchema } from '../training/index.ts';
import * as answers from './answers.ts';
import { SERVER_LIMITS } from './limits.ts';
import { modelPath } from './requests.ts';

const { bodyBytes } = SERVER_LIMITS;
/** A message of a member names a share for each of 255 members. */
const messageBytes = 1 << 18;

const purpose = z.enum(['data', 'checkpoint']);
const subject = z.string().min(1).max(1_024).describe('what is sealed: a file or a model in training');
const wraps = z
  .strictObject({
    v: z.literal(1),
    dataKeyId: z.string().regex(/^[a-z0-9][a-z0-9-]{0,63}$/),
    wraps: z
      .array(
        z.strictObject({
          keyId: z.string().min(1).max(128),
          recipient: z.enum(['store', 'recovery']),
          wrapped: z
            .string()
            .max(1_024)
            .regex(/^[A-Za-z0-9+/]+={0,2}$/, 'expected base64'),
        }),
      )
      .min(1)
      .max(8),
  })
  .describe('as the sealed file has them');
const key = z.string().describe('32 bytes in base64');
const mark = z.strictObject({
  run: z.string().regex(/^sha256:[0-9a-f]{64}$/),
  dataKeyId: z.string().regex(/^checkpoint-[0-9a-f]{16}$/),
  counter: z.int().min(0),
});

const publicKey = {
  algorithm: z.enum(['ecdsa-p256', 'ed25519']),
  publicKeyPem: z.string().max(4_096),
};
const signedRoster = z.strictObject({ roster: z.looseObject({}), signature: z.string().max(1_024) });

const runPath = z.strictObject({ run: z.uuid() });
const trainingRun = z.looseObject({
  id: z.string(),
  model: z.string(),
  state: z.enum(RUN_STATES),
  begunMs: z.number(),
  heardMs: z.number(),
  last: curvePointSchema.optional(),
});

/** Routes of sealed training data and of checkpoints; part of `ROUTES`, which checks their form. */
export const TRAINING_ROUTES = {
  'POST /v1/training/keys': {
    role: 'admin',
    about: 'Makes a key that seals a file, wrapped by the key store.',
    body: z.strictObject({ purpose, subject }),
    bodyBytes,
    answer: z.strictObject({ wraps: z.looseObject({}), key }),
    status: 201,
  },
  'POST /v1/training/keys/open': {
    role: 'admin',
    about: 'Opens such a key by its wraps.',
    body: z.strictObject({ purpose, subject, wraps }),
    bodyBytes,
    answer: z.strictObject({ key }),
  },
  'GET /v1/training/checkpoints': {
    role: 'viewer',
    about: 'The last checkpoint of each model in training, by its number.',
    answer: z.strictObject({ checkpoints: z.record(z.string(), z.looseObject({})) }),
  },
  'POST /v1/training/checkpoints/:name': {
    role: 'admin',
    about: 'Marks a checkpoint as the last: no older one is resumed from.',
    path: modelPath,
    body: mark,
    bodyBytes,
    answer: answers.anyObject,
  },
  'DELETE /v1/training/checkpoints/:name': {
    role: 'admin',
    about: 'Forgets a checkpoint: it is not resumed from any more.',
    path: modelPath,
    query: z.strictObject({ key: mark.shape.dataKeyId.optional() }),
    answer: answers.anyObject,
  },
  'GET /v1/training/runs': {
    role: 'viewer',
    about: 'The last trainings that told how they go, heard of last first.',
    answer: z.strictObject({ runs: z.array(trainingRun) }),
  },
  'GET /v1/training/runs/:run': {
    role: 'viewer',
    about: 'The course of a training: loss, throughput, CPU, memory, and what sums over workers took.',
    path: runPath,
    answer: trainingRun.extend({ points: z.array(curvePointSchema) }),
  },
  'POST /v1/training/runs/:run': {
    role: 'admin',
    about: 'Tells how a training goes; `guardian train` does.',
    path: runPath,
    body: z.strictObject({
      model: modelPath.shape.name,
      state: z.enum(RUN_STATES),
      points: z.array(curvePointSchema).max(256),
    }),
    bodyBytes,
    answer: answers.anyObject,
  },
  'POST /v1/training/identities': {
    role: 'admin',
    about: 'The public part of the key by which this site speaks in secure trainings; makes it.',
    body: z.strictObject({ role: z.enum(['member', 'approver']) }),
    bodyBytes,
    answer: z.looseObject({ keyId: z.string(), publicKeyPem: z.string() }),
  },
  'POST /v1/training/rosters': {
    role: 'admin',
    about: 'Signs the roster of a secure training, as its approver.',
    body: z.strictObject({ roster: z.looseObject({}) }),
    bodyBytes,
    answer: signedRoster,
    status: 201,
  },
  'POST /v1/training/memberships': {
    role: 'admin',
    about: 'Takes part in a secure training, as a member of a roster that the approver signed.',
    body: z.strictObject({ signed: signedRoster, approver: z.strictObject(publicKey) }),
    bodyBytes,
    answer: z.strictObject({ roster: z.string(), member: z.string() }),
    status: 201,
  },
  'POST /v1/training/memberships/sign': {
    role: 'admin',
    about: 'Signs a message of such a member.',
    body: z.strictObject({
      message: z
        .string()
        .max(messageBytes)
        .regex(/^[A-Za-z0-9+/]+={0,2}$/, 'expected base64'),
    }),
    bodyBytes: messageBytes + 1_024,
    answer: z.strictObject({ signature: z.string() }),
  },
} as const;
