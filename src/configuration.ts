import { isIP } from 'node:net';
import { isAbsolute } from 'node:path';
import { z } from 'zod';
import { alertsConfigSchema } from './alerts/index.ts';
import { auditConfigSchema } from './audit/index.ts';
import {
  type ConfigurationSources,
  otlpConfigSchema,
  type ResolvedConfiguration,
  resolveConfiguration,
} from './base/index.ts';
import { busConfigSchema, queueConfigSchema } from './bus/index.ts';
import { CryptoError, parsePkcs11Uri } from './crypto/index.ts';
import { featuresConfigSchema } from './features/index.ts';
import { inferenceConfigSchema } from './inference/index.ts';
import { monitorConfigSchema } from './monitor/index.ts';
import { retentionConfigSchema } from './registry/index.ts';
import { responseConfigSchema } from './response/index.ts';
import { postgresConfigSchema } from './storage/index.ts';
import { MAX_FLOWS_LIMIT, METER_DEFAULTS } from './traffic/index.ts';
import { gateConfigSchema, trainingConfigSchema, trainingLimitsSchema } from './training/index.ts';

/** Which model watches, and what is expected of it. Names are kept from the specification. */
const modelConfigSchema = z.strictObject({
  modelPath: z
    .string()
    .min(1)
    .max(300)
    .default('flow@champion')
    .describe('registry reference; always verified before it is loaded'),
  modelVersion: z.string().nullable().default(null).describe('refuse to run any other version'),
  featureColumns: z
    .array(z.string())
    .nullable()
    .default(null)
    .describe("must equal the schema's columns; left out, the schema's are used"),
  versioningStrategy: z.enum(['semver', 'timestamp', 'digest']).default('semver'),
});

const milliseconds = (fallback: number) =>
  z
    .number()
    .min(1)
    .max(24 * 3_600_000)
    .default(fallback);

const meterConfigSchema = z.strictObject({
  idleTimeoutMs: milliseconds(METER_DEFAULTS.idleTimeoutMs),
  attemptTimeoutMs: milliseconds(METER_DEFAULTS.attemptTimeoutMs),
  activeTimeoutMs: milliseconds(METER_DEFAULTS.activeTimeoutMs),
  maxFlows: z
    .number()
    .int()
    .min(1_000)
    .max(MAX_FLOWS_LIMIT)
    .default(METER_DEFAULTS.maxFlows)
    .describe('open flows; those silent longest are ended for new ones'),
});

/** What a caller may do. Roles do not contain each other, except that each may read what a viewer may. */
export const ROLES = ['viewer', 'submitter', 'approver', 'operator', 'auditor', 'admin'] as const;

/** Signatures that OIDC tokens may bear: never `none`, and never HS*, whose secret would be the public key. */
const TOKEN_ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
] as const;

const file = (about: string) => z.string().min(1).max(4_096).nullable().default(null).describe(about);

const tlsConfigSchema = z
  .strictObject({
    certFile: file('PEM: the certificate, then its intermediates'),
    keyFile: file('PEM: the private key, readable by its owner alone'),
    clientCaFile: file('PEM: who may issue certificates of machines; none are asked for without it'),
    minVersion: z
      .enum(['TLSv1.3', 'TLSv1.2'])
      .default('TLSv1.3')
      .describe('1.2 only for clients that cannot do better, and then with forward secrecy and AEAD alone'),
  })
  .refine(({ certFile, keyFile }) => (certFile === null) === (keyFile === null), {
    message: 'expected certFile and keyFile together',
  })
  .refine(({ certFile, clientCaFile }) => clientCaFile === null || certFile !== null, {
    message: 'expected certFile and keyFile beside clientCaFile',
  });

const oidcConfigSchema = z
  .strictObject({
    issuer: z
      .string()
      .min(1)
      .max(2_048)
      .nullable()
      .default(null)
      .describe('exact value of `iss`; null is off'),
    audience: z.string().min(1).max(256).nullable().default(null).describe('must stand in `aud`'),
    jwksFile: file("the issuer's keys, kept here; read again at SIGHUP and for an unknown key id"),
    jwksUri: z
      .string()
      .max(2_048)
      .refine(isSafeAddress, 'expected https, or http on loopback, without credentials')
      .nullable()
      .default(null),
    algorithms: z.array(z.enum(TOKEN_ALGORITHMS)).min(1).default(['RS256', 'PS256', 'ES256', 'EdDSA']),
    rolesClaim: z
      .string()
      .regex(/^[\w:/-]{1,128}(\.[\w:/-]{1,128}){0,7}$/)
      .default('groups')
      .describe('claim that holds text or a list of texts; dots lead into objects'),
    roleMap: z
      .array(z.strictObject({ value: z.string().min(1).max(256), roles: z.array(z.enum(ROLES)).min(1) }))
      .max(256)
      .default([])
      .describe('which roles a value of that claim gives; a value that is not here gives none'),
    clockToleranceMs: z.number().int().min(0).max(300_000).default(30_000),
    maxLifetimeMs: z
      .number()
      .int()
      .min(60_000)
      .max(7 * 86_400_000)
      .default(86_400_000)
      .describe('a token that runs out later than this from now is refused: it cannot be revoked here'),
    keysCacheMs: z.number().int().min(1_000).max(86_400_000).default(600_000),
  })
  .refine(({ issuer, audience }) => (issuer === null) === (audience === null), {
    message: 'expected issuer and audience together',
  })
  .refine(({ issuer, jwksFile, jwksUri }) => issuer === null || (jwksFile === null) !== (jwksUri === null), {
    message: 'expected one of jwksFile and jwksUri',
  });

const tokens = (fallback: number) => z.number().positive().max(1e6).default(fallback);

const serverConfigSchema = z.strictObject({
  host: z.string().default('127.0.0.1').describe('another than loopback needs tls and allowedHosts'),
  port: z.number().int().min(0).max(65_535).default(8411),
  grpcPort: z
    .number()
    .int()
    .min(0)
    .max(65_535)
    .nullable()
    .default(null)
    .describe('the inference protocol over gRPC, on the same host and with the same tls; off by default'),
  allowedHosts: z
    .array(z.string().regex(/^([\w.-]+|\[[0-9a-fA-F:.]+\])(:\d{1,5})?$/))
    .max(64)
    .default([])
    .describe('names by which the server may be called besides loopback; without a port its own is meant'),
  trustedProxies: z
    .array(z.string().refine(isNetwork, 'expected an address or a network such as 10.0.0.0/8'))
    .max(64)
    .default([])
    .describe('whose X-Forwarded-For says what a canary sticks to; who comes in is decided by the peer'),
  tls: tlsConfigSchema.prefault({}),
  oidc: oidcConfigSchema.prefault({}),
  rateLimit: z
    .strictObject({
      principalPerSecond: tokens(5_000),
      principalBurst: tokens(10_000),
      addressPerSecond: tokens(10_000),
      addressBurst: tokens(20_000),
    })
    .prefault({})
    .describe('requests by token buckets: so many at once, so many a second after that; never on the socket'),
});

/** An address, or a network by its prefix. */
function isNetwork(text: string): boolean {
  const [address = '', bits, ...more] = text.split('/');
  const family = isIP(address);
  if (family === 0 || more.length > 0) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 6 ? 128 : 32));
}

/** Keys that decide who comes in are fetched so that nobody on the way can change them. */
function isSafeAddress(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname, username, password } = new URL(text);
  if (username !== '' || password !== '') return false;
  if (protocol === 'https:') return true;
  return protocol === 'http:' && /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname);
}

const registryConfigSchema = z.strictObject({
  approvals: z
    .union([z.literal(1), z.literal(2), z.literal('auto')])
    .default('auto')
    .describe(
      'people who approve a version before it is promoted; auto: 2 with hardware keys or OIDC, else 1',
    ),
  approvalDays: z.number().positive().max(3_650).default(30).describe('after which an approval expires'),
  gates: z
    .enum(['submitter', 'evaluator'])
    .default('submitter')
    .describe(
      'evaluator: a promotion needs registered gate data; submitter: else the report of training counts',
    ),
  retention: retentionConfigSchema.prefault({}),
});

const keysConfigSchema = z.strictObject({
  uri: z
    .string()
    .max(1024)
    .default('file')
    .superRefine((text, context) => {
      if (text === 'file') return;
      try {
        parsePkcs11Uri(text);
      } catch (error) {
        // It never repeats the text, which may hold a PIN.
        const message = error instanceof CryptoError ? error.message : 'expected file or a pkcs11: uri';
        context.addIssue({ code: 'custom', message });
      }
    })
    .describe('where keys are: file, or a pkcs11: URI (RFC 7512) with the PIN in a file, pin-source=file:'),
  postQuantum: z
    .enum(['off', 'sign', 'require'])
    .default('off')
    .describe(
      'a second signature by ML-DSA-65: not made; made and checked where there is one; demanded of every model',
    ),
});

const storageConfigSchema = z
  .strictObject({
    blobs: z
      .string()
      .regex(/^(?:directory|zfs:[A-Za-z][\w.-]*(?:\/[A-Za-z0-9][\w.-]*)+)$/)
      .default('directory')
      .describe(
        'directory, or zfs:pool/registry: an encrypted OpenZFS dataset, made where it does not exist',
      ),
    zfsKeyFile: file('32 random bytes, the key of that dataset; zfs.key beside the unlock secret by default'),
    database: z
      .enum(['sqlite', 'postgres'])
      .default('sqlite')
      .describe('where the metadata is; the log is files'),
    postgres: postgresConfigSchema.prefault({}),
    sharedFolder: file(
      'audit log, blobs, wraps and keys of servers on one PostgreSQL; by default the state folder',
    ),
  })
  .refine(({ database, postgres }) => (database === 'postgres') === (postgres.url !== null), {
    message: 'expected postgres.url with database postgres, and not without',
  })
  .refine(
    ({ database, sharedFolder }) =>
      sharedFolder === null || (database === 'postgres' && isAbsolute(sharedFolder)),
    {
      message: 'expected sharedFolder to be absolute, and only with database postgres',
    },
  );

const checkpointsConfigSchema = z.strictObject({
  everyRounds: z
    .int()
    .min(0)
    .max(5000)
    .default(1)
    .describe('rounds of boosting between two checkpoints of a training at least; 0 makes none'),
  maxShare: z
    .number()
    .min(0.001)
    .max(1)
    .default(0.03)
    .describe('share of the time of training that checkpoints may take: after a slow one the next waits'),
});

/** The whole of `guardian.yaml`: a section for each part, a default for each field. */
export const configurationSchema = z
  .strictObject({
    model: modelConfigSchema.prefault({}),
    features: featuresConfigSchema.prefault({}),
    inference: inferenceConfigSchema.prefault({}),
    response: responseConfigSchema.prefault({}),
    alerts: alertsConfigSchema.prefault({}),
    audit: auditConfigSchema.prefault({}),
    meter: meterConfigSchema.prefault({}),
    training: trainingConfigSchema.prefault({}),
    checkpoints: checkpointsConfigSchema.prefault({}),
    trainingLimits: trainingLimitsSchema.prefault({}),
    gates: gateConfigSchema.prefault({}),
    registry: registryConfigSchema.prefault({}),
    keys: keysConfigSchema.prefault({}),
    monitor: monitorConfigSchema.prefault({}),
    storage: storageConfigSchema.prefault({}),
    bus: busConfigSchema.prefault({}),
    queue: queueConfigSchema.prefault({}),
    server: serverConfigSchema.prefault({}),
    metrics: z.strictObject({ otlp: otlpConfigSchema.prefault({}) }).prefault({}),
    log: z
      .strictObject({ level: z.enum(['silent', 'error', 'warn', 'info', 'debug']).default('warn') })
      .prefault({}),
  })
  .refine(
    ({ inference, bus }) => inference.pool !== 'bus' || (bus.url !== null && bus.sealingKeyFile !== null),
    { message: 'expected bus.url and bus.sealingKeyFile beside it', path: ['inference', 'pool'] },
  );

export type Configuration = z.output<typeof configurationSchema>;
export type ServerConfig = Configuration['server'];

/** Resolves the configuration in force. Throws `base.config-invalid`. */
export function readConfiguration(
  sources: ConfigurationSources,
): Promise<ResolvedConfiguration<Configuration>> {
  return resolveConfiguration(configurationSchema, sources);
}
