import { z } from 'zod';
import { CERTIFICATE_ORIGINS, MAX_CERTIFICATE_DAYS } from '../models/index.ts';
import { VERSION_FORM } from '../registry/index.ts';
import {
  CONNECTION_STATES,
  END_REASONS,
  MEASURES,
  type Measure,
  parseAddress,
  SOURCE_KINDS,
  TUNNEL_KINDS,
} from '../traffic/index.ts';
import { CERTIFICATE_NAME } from './client-certificate.ts';
import { SERVER_LIMITS } from './limits.ts';
import { ROLES } from './roles.ts';

/** Request shapes. Unknown fields are refused; the OpenAPI document is made from these very schemas. */

const kebab = z.string().regex(/^[a-z][a-z0-9-]{0,62}$/, 'expected lowercase letters, digits and dashes');
const version = z.string().regex(VERSION_FORM, 'expected a version such as 1.2.0');
/** A version or an alias. */
const target = z.union([version, kebab]);
const whole = (max: number) => z.coerce.number().int().min(0).max(max);
const base64 = z
  .string()
  .regex(/^[A-Za-z0-9+/]+={0,2}$/, 'expected base64')
  .transform((text) => Buffer.from(text, 'base64'));

/** As in Zeek, Suricata and every tool there is; 2^53 bounds what a number can count. */
const count = z
  .number()
  .min(0)
  .max(Number.MAX_SAFE_INTEGER)
  .nullable()
  .transform((value) => value ?? Number.NaN);
const time = z.number().min(0).max(8.64e15);
const port = z.int().min(0).max(65_535);
const address = z
  .string()
  .max(45)
  .transform((text, context) => {
    const parsed = parseAddress(text);
    if (parsed !== undefined) return parsed.text;
    context.addIssue({ code: 'custom', message: 'expected an IP address' });
    return z.NEVER;
  });

const direction = z.strictObject({
  packets: count,
  bytes: count,
  payloadBytes: count,
  tcpFlags: count,
});

/** Every measure may be left out, which says that the source does not report it. */
const measures = z.partialRecord(
  z.enum<Measure[]>([...MEASURES]),
  z.number().min(-Number.MAX_SAFE_INTEGER).max(Number.MAX_SAFE_INTEGER),
);

const tunnel = z.strictObject({
  kind: z.enum(TUNNEL_KINDS).exclude(['none']),
  id: z.int().min(0).max(0xffff_ffff),
});

const names = z.strictObject({
  dns: z.array(z.string().max(255)).max(4).exactOptional(),
  sni: z.string().max(255).exactOptional(),
  ja4: z.string().max(255).exactOptional(),
  reportedAlert: z.string().max(255).exactOptional(),
});

export const flowSchema = z
  .strictObject({
    sourceKind: z.enum(SOURCE_KINDS),
    protocol: z.int().min(0).max(255),
    sourceAddress: address,
    destinationAddress: address,
    sourcePort: port,
    destinationPort: port,
    startMs: time,
    endMs: time,
    forward: direction,
    backward: direction,
    state: z.enum(CONNECTION_STATES),
    endReason: z.enum(END_REASONS).default('reported'),
    handshakeSeen: z.boolean().exactOptional(),
    measures: measures.exactOptional(),
    tunnel: tunnel.exactOptional(),
    names: names.exactOptional(),
  })
  .refine(({ startMs, endMs }) => startMs <= endMs, 'expected startMs not after endMs');

/** An array of flows, an object that holds one, or, as NDJSON, text with a flow a line. Or the lines of a Zeek or EVE log. Read by `readEvents`. */
export const eventsBody = z.union([
  z.array(z.unknown()),
  z.strictObject({ flows: z.array(z.unknown()) }),
  z.string(),
]);

export const eventsQuery = z.strictObject({
  route: kebab.default('events').describe('names the stream; each has windows of its own'),
  model: z.string().max(127).optional().describe('registry reference; the configured model by default'),
});

export const eventsEndQuery = z.strictObject({ route: kebab.default('events') });

export const scoreBody = z.strictObject({
  events: z.array(z.record(z.string(), z.unknown())).describe('named features, raw, as the schema says'),
});

/** For the OpenAPI document: what it says is checked by hand, on the way of every event (`readInferRequest`). */
export const inferBody = z.looseObject({
  id: z.string().max(SERVER_LIMITS.requestIdLength).optional().describe('repeated in the answer'),
  parameters: z
    .looseObject({
      binary_data_output: z.boolean().optional().describe('all outputs as bytes after the JSON'),
      timeout: z.int().min(0).optional().describe('microseconds from now until when an answer is of use'),
      priority: z
        .union([z.enum(['live', 'batch']), z.int().min(0)])
        .optional()
        .describe('batch, or above 1: behind live traffic'),
    })
    .optional(),
  inputs: z
    .array(
      z.looseObject({
        name: z.string(),
        shape: z.array(z.int().min(0)).max(8),
        datatype: z.string(),
        parameters: z
          .looseObject({ binary_data_size: z.int().min(0).optional().describe('bytes after the JSON') })
          .optional(),
        data: z.array(z.unknown()).optional().describe('nested or flat, row-major; null is a missing value'),
      }),
    )
    .max(SERVER_LIMITS.tensors),
  outputs: z
    .array(
      z.looseObject({
        name: z.string(),
        parameters: z.looseObject({ binary_data: z.boolean().optional() }).optional(),
      }),
    )
    .max(SERVER_LIMITS.tensors)
    .optional(),
});
export const inferHeaders = z.looseObject({
  'inference-header-content-length': z
    .int()
    .min(0)
    .optional()
    .describe('length of the JSON where bytes follow'),
  'guardian-timeout-ms': z.int().min(1).max(9_999_999).optional(),
  'guardian-priority': z.enum(['live', 'batch']).optional(),
});

export const repositoryIndexBody = z.strictObject({
  ready: z.boolean().default(false).describe('only what serves'),
});
export const repositoryLoadBody = z.strictObject({
  parameters: z
    .record(z.string().max(256), z.unknown())
    .default({})
    .describe('load takes `version`; the champion by default. Bytes and settings of others are refused'),
});

const listLimit = (max: number, fallback: number) =>
  z.coerce.number().int().min(1).max(max).default(fallback);

export const detectionsQuery = z.strictObject({
  limit: listLimit(SERVER_LIMITS.listedDetections, 100),
  since: z
    .union([whole(8.64e15), z.iso.datetime({ offset: true }).transform((text) => Date.parse(text))])
    .optional()
    .describe('raised at this time or later: milliseconds since 1970, or RFC 3339'),
  kind: z.string().max(64).optional(),
  source: address.optional(),
  format: z.enum(['native', 'ocsf', 'eve', 'cef']).default('native'),
});

export const uidPath = z.strictObject({ uid: z.string().regex(/^[\w.-]{1,128}$/) });
export const hostPath = z.strictObject({
  address: z.string().regex(/^[0-9a-fA-F:.]{2,45}$/, 'expected an IPv4 or IPv6 address'),
});
export const modelPath = z.strictObject({ name: kebab });
/** In the inference protocol a version is opaque text. */
export const servedPath = z.strictObject({ name: kebab, version: z.string().min(1).max(64) });
export const versionPath = z.strictObject({ name: kebab, version: target });
export const versionQuery = z.strictObject({ version: target.default('champion') });
export const optionalVersionQuery = z.strictObject({ version: target.optional() });
export const accessPath = z.strictObject({ id: z.string().regex(/^[0-9a-f]{16}$/) });
export const indexPath = z.strictObject({ index: whole(Number.MAX_SAFE_INTEGER) });

export const publishBody = z.strictObject({
  version: version.optional(),
  model: base64,
  schema: base64,
  // Its own parser in the registry refuses a report that contradicts itself.
  gateReport: z.record(z.string(), z.unknown()),
  provenance: z.strictObject({
    dataDigest: z.string(),
    sourceKinds: z.array(z.string().max(64)).min(1).max(64),
    configuration: z.unknown(),
    seed: z.int().min(0).max(0xffff_ffff),
    trainer: z.string().min(1).max(256),
  }),
});

export const promoteBody = z.strictObject({ version: target, alias: kebab.default('champion') });
export const approveBody = z.strictObject({ version: target });
const filePath = z.string().min(1).max(4_096).startsWith('/').describe('absolute, on this machine');
export const gateDataBody = z.strictObject({
  path: filePath,
  labels: filePath.optional().describe('labels of flows'),
  schema: base64.describe('the schema that the data are read by'),
});
export const certifyBody = z.strictObject({
  version: target,
  origin: z.enum(CERTIFICATE_ORIGINS).describe('where the registered data are from'),
  target: z.number().gt(0).lt(1).describe('highest error rate of decisions, of block and of allow each'),
  expiresDays: z.number().gt(0).max(MAX_CERTIFICATE_DAYS).default(30),
});
export const importBody = z.strictObject({
  name: kebab.optional().describe('its own name by default'),
  version: version.optional(),
  files: z
    .record(z.string().regex(/^[a-z]+\.(agm|json|sig)$/), base64)
    .describe('the five files of an export'),
  keys: z
    .array(z.string().max(8_192))
    .max(16)
    .default([])
    .describe('PEM of the public keys that are trusted'),
  certificates: z
    .array(z.string().max(32_768))
    .max(16)
    .default([])
    .describe('PEM of the root certificates that are trusted, one each; a key or one of these is needed'),
});
export const servedQuery = z.strictObject({
  at: z
    .union([whole(8.64e15), z.iso.datetime({ offset: true }).transform((text) => Date.parse(text))])
    .optional()
    .describe('milliseconds since 1970, or RFC 3339; now by default'),
  alias: kebab.default('champion'),
});
export const rollbackBody = z.strictObject({ alias: kebab.default('champion') });

export const auditQuery = z.strictObject({
  from: whole(Number.MAX_SAFE_INTEGER).optional().describe('first index; the newest entries by default'),
  limit: listLimit(SERVER_LIMITS.listedEntries, 100),
});
export const auditVerifyBody = z.strictObject({
  checkpoint: z.string().max(16_384).optional().describe('a checkpoint that was kept elsewhere'),
  witnessKeys: z.array(z.string().max(1_024)).max(16).default([]).describe('verifier keys of witnesses'),
  cosignaturesWanted: z.int().min(1).max(16).optional().describe('of those; all by default'),
});
export const consistencyQuery = z.strictObject({
  from: whole(Number.MAX_SAFE_INTEGER),
  to: whole(Number.MAX_SAFE_INTEGER),
});

const grantedRoles = z.array(z.enum(ROLES)).min(1).max(ROLES.length);
const grantedDays = z.number().positive().max(3_650).default(90);

/** Hexadecimal with or without colons, as openssl and browsers print it. */
const fingerprint = z
  .string()
  .max(128)
  .regex(/^(?:sha256:)?(?:[0-9a-f]{2}:?){31}[0-9a-f]{2}$/i, 'expected a SHA-256 fingerprint')
  .transform((text) => ({
    fingerprint: text
      .replace(/^sha256:/i, '')
      .replaceAll(':', '')
      .toLowerCase(),
  }));
const certificateName = z
  .string()
  .regex(CERTIFICATE_NAME, 'expected the name in a certificate, or its SHA-256 fingerprint')
  .transform((name) => ({ name }));

export const certificateBody = z.strictObject({
  certificate: z.union([fingerprint, certificateName]),
  roles: grantedRoles,
  days: grantedDays,
});

export const accessBody = z.strictObject({
  // It names the caller in the audit log: no colon, so that nobody can be called `local:0`.
  label: z.string().regex(/^[\p{L}\p{N}][\p{L}\p{N} ._@-]{0,63}$/u),
  roles: grantedRoles,
  days: grantedDays,
});
