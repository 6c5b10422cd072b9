import { z } from 'zod';

/** Answers as the OpenAPI document tells them. Fields may be added; a test holds the real answers against these. */

const text = z.string();
const number = z.number();
const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/);

export const anyObject = z.looseObject({});

export const extractionNoted = z.looseObject({ index: z.int() });

export const refusal = z.strictObject({
  error: text,
  code: text,
  category: z.enum(['model', 'resource', 'security', 'validation']),
  retry: z.boolean(),
});

const known = z.enum(['present', 'stale', 'missing', 'invalid']);
export const host = z.looseObject({
  address: text,
  state: known,
  aggregate: z.looseObject({ flows: z.int(), packets: number, bytesOut: number, bytesIn: number }).optional(),
  indicators: z.looseObject({ state: known, labels: z.array(text), version: text }).optional(),
});

export const serverMetadata = z.looseObject({ name: text, version: text, extensions: z.array(text) });
export const live = z.looseObject({ live: z.literal(true) });
export const ready = z.looseObject({ ready: z.literal(true), degraded: z.array(text).optional() });
export const modelReady = z.looseObject({ name: text, ready: z.literal(true) });
const tensor = z.looseObject({ name: text, datatype: text, shape: z.array(z.int()) });
export const modelMetadata = z.looseObject({
  name: text,
  versions: z.array(text),
  platform: text,
  inputs: z.array(tensor),
  outputs: z.array(tensor),
  properties: z.record(text, text),
});
export const inference = z.looseObject({
  model_name: text,
  model_version: text,
  id: text.optional(),
  parameters: anyObject,
  outputs: z.array(
    z.looseObject({
      name: text,
      datatype: text,
      shape: z.array(z.int()),
      parameters: z.looseObject({ binary_data_size: z.int() }).optional(),
      data: z.array(z.union([text, number])).optional(),
    }),
  ),
});
const spent = z.looseObject({ count: z.int(), ns: z.int() });
const computed = { compute_input: spent, compute_infer: spent, compute_output: spent };
export const modelStatistics = z.looseObject({
  model_stats: z.array(
    z.looseObject({
      name: text,
      version: text,
      last_inference: z.int(),
      inference_count: z.int(),
      execution_count: z.int(),
      inference_stats: z.looseObject({ success: spent, fail: spent, queue: spent, ...computed }),
      batch_stats: z.array(z.looseObject({ batch_size: z.int(), ...computed })),
    }),
  ),
});
export const repositoryIndex = z.array(
  z.looseObject({ name: text, version: text, state: z.enum(['READY', 'UNAVAILABLE']), reason: text }),
);

const verdicts = z.looseObject({ attack: z.int(), benign: z.int(), abstain: z.int() });
export const ingested = z.looseObject({
  flows: z.int(),
  rejects: z.record(text, z.int()),
  unread: z.record(text, z.int()).optional().describe('lines of a log that are no flow, by code'),
  verdicts,
  decisions: z.record(text, z.int()),
  detections: z.array(anyObject),
});
export const scores = z.looseObject({
  scores: z.array(
    z.looseObject({
      probability: number,
      verdict: z.enum(['attack', 'benign', 'abstain']),
      confidence: number,
      certificate: text,
      model: z.looseObject({ name: text, version: text, digest }),
    }),
  ),
});
export const detections = z.looseObject({ detections: z.array(anyObject) });

const summary = {
  name: text,
  version: text,
  digest,
  schemaId: digest,
  gatesPassed: z.boolean(),
  aliases: z.array(text),
  isInLog: z.boolean(),
};
export const models = z.looseObject({ models: z.array(z.looseObject(summary)) });
export const modelDetails = z.looseObject({ ...summary, manifest: anyObject, gates: anyObject });
export const aliasChange = z.looseObject({
  name: text,
  alias: text,
  version: text,
  action: z.enum(['promote', 'rollback']),
  principal: text,
  intent: z.int(),
  approvals: z.array(text),
  approvalsRequired: z.int(),
  gates: z.enum(['submitter', 'evaluator']),
});
const approval = z.looseObject({ principal: text, time: text, digest, expiresAt: text, intent: z.int() });
export const approved = approval;
const gateDataSet = z.looseObject({ name: text, path: text, digest, schemaId: digest, rows: z.int() });
export const gateDataAdded = gateDataSet;
export const gateData = z.looseObject({ name: text, gateData: gateDataSet.nullable() });
const claim = z.looseObject({
  status: text,
  threshold: z.number(),
  errors: z.int(),
  accepted: z.int(),
  coverage: z.number(),
  bound: z.number(),
  accuracy: z.number(),
});
export const certified = z.looseObject({
  name: text,
  version: text,
  certificate: digest,
  origin: text,
  expiresAt: text,
  claims: z.strictObject({ block: claim, allow: claim }),
  intent: z.int(),
});
export const served = z.looseObject({
  name: text,
  alias: text,
  at: text,
  change: aliasChange.nullable(),
  until: anyObject.nullable(),
  approvals: z.array(approval),
  evidence: anyObject.nullable(),
  gateReport: anyObject.nullable(),
  proofs: z.array(z.looseObject({ about: text, index: z.int(), proof: text })),
});
export const history = z.looseObject({ name: text, changes: z.array(aliasChange) });
export const verified = z.looseObject({
  name: text,
  version: text,
  digest,
  verified: z.literal(true),
  steps: z.array(text),
});
export const published = z.looseObject({ name: text, version: text, digest, gatesPassed: z.boolean() });
export const exported = z.looseObject({ files: z.record(text, text) });

export const auditEntries = z.looseObject({
  size: z.int(),
  entries: z.array(z.looseObject({ index: z.int(), entry: anyObject })),
});
export const checkpoint = z.looseObject({ origin: text, size: z.int(), root: text, text });
export const consistency = z.looseObject({
  from: z.int(),
  to: z.int(),
  fromRoot: text,
  toRoot: text,
  hashes: z.array(text),
});
export const proof = z.looseObject({ index: z.int(), proof: text });
export const auditVerified = z.looseObject({ size: z.int(), root: text, verified: z.literal(true) });

export const keys = z.looseObject({
  keys: z.array(z.looseObject({ id: text, purpose: text, algorithm: text, state: text })),
});
const granted = { roles: z.array(text), createdAt: text, expiresAt: text.nullable(), revoked: z.boolean() };
export const accessList = z.looseObject({
  keys: z.array(z.looseObject({ id: text, label: text, ...granted })),
  certificates: z.array(z.looseObject({ id: text, certificate: text, ...granted })),
});
export const certificateAdded = z.looseObject({ id: text, certificate: text });
export const accessAdded = z.looseObject({ id: text, key: text });
export const accessRevoked = z.looseObject({ id: text, revoked: z.literal(true) });
export const configuration = z.looseObject({ values: anyObject, origins: z.record(text, text) });
export const recentErrors = z.looseObject({
  errors: z.array(
    z.looseObject({ timeMs: number, code: text, category: text, status: z.int(), route: text }),
  ),
});
export const status = z.looseObject({
  version: text,
  models: z.array(anyObject),
  audit: z.looseObject({ size: z.int() }),
});
