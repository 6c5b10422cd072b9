import { isAbsolute } from 'node:path';
import { z } from 'zod';

/** What a notice looks like; `json` is the detection as the server shows it. */
export const NOTICE_FORMATS = ['json', 'ocsf', 'eve', 'cef'] as const;
export type NoticeFormat = (typeof NOTICE_FORMATS)[number];

const path = z
  .string()
  .min(1)
  .max(4_096)
  .refine((text) => isAbsolute(text), 'expected an absolute path');

const common = {
  name: z
    .string()
    .regex(/^[a-z][a-z0-9-]{0,31}$/, 'expected lowercase letters, digits and dashes')
    .describe('keeps its place under this name: another name begins anew'),
  timeoutMs: z.number().int().min(100).max(120_000).default(10_000).describe('of one notice'),
  maxBackoffMs: z
    .number()
    .int()
    .min(100)
    .max(3_600_000)
    .default(60_000)
    .describe('longest pause between two tries; it doubles from 500 ms'),
  giveUpAfterMs: z
    .number()
    .int()
    .min(1_000)
    .max(30 * 86_400_000)
    .default(86_400_000)
    .describe('a notice older than this that fails is given up, and the audit log says so'),
};

const caFile = path.nullable().default(null).describe('PEM: who vouches for the receiver; else the system');

const webhookSchema = z
  .strictObject({
    type: z.literal('webhook'),
    ...common,
    url: z.string().max(2_048).refine(isPlainlyAddressed, 'expected http or https, without credentials'),
    allowPlainHttp: z.boolean().default(false).describe('http to another host than this one'),
    secretFile: path.describe('32 characters or more, readable by its owner alone; signs every notice'),
    format: z.enum(NOTICE_FORMATS).default('ocsf'),
    concurrency: z.number().int().min(1).max(32).default(4).describe('requests at once'),
    caFile,
  })
  .refine(({ url, allowPlainHttp }) => allowPlainHttp || isGuarded(url), {
    message: 'expected https, or http to loopback; allowPlainHttp allows more',
    path: ['url'],
  });

const syslogSchema = z.strictObject({
  type: z.literal('syslog'),
  ...common,
  host: z.string().min(1).max(253),
  port: z.number().int().min(1).max(65_535),
  transport: z.enum(['udp', 'tcp', 'tls']).default('tcp'),
  facility: z.number().int().min(0).max(23).default(16).describe('16 is local0'),
  caFile,
});

const fileSchema = z.strictObject({
  type: z.literal('file'),
  ...common,
  path: path.describe('JSON lines; its folder must be there'),
  format: z.enum(['json', 'ocsf', 'eve']).default('eve'),
  maxBytes: z
    .number()
    .int()
    .min(4_096)
    .max(2 ** 40)
    .default(100 << 20)
    .describe('from which a new file is begun'),
  files: z.number().int().min(1).max(100).default(5).describe('kept beside the one that is written'),
});

/** Where notices of detections go. */
export const sinksConfigSchema = z
  .array(z.discriminatedUnion('type', [webhookSchema, syslogSchema, fileSchema]))
  .max(16)
  .refine((sinks) => new Set(sinks.map(({ name }) => name)).size === sinks.length, {
    message: 'expected each name once',
  })
  .default([])
  .describe('notices go to each of these at least once, also over a crash');

export type SinkConfig = z.output<typeof sinksConfigSchema>[number];
export type WebhookConfig = Extract<SinkConfig, { readonly type: 'webhook' }>;
export type SyslogConfig = Extract<SinkConfig, { readonly type: 'syslog' }>;
export type FileSinkConfig = Extract<SinkConfig, { readonly type: 'file' }>;

/** Credentials belong into a file: this text stands in the configuration, which is shown. */
function isPlainlyAddressed(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, username, password } = new URL(text);
  return (protocol === 'https:' || protocol === 'http:') && username === '' && password === '';
}

function isGuarded(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname } = new URL(text);
  return protocol === 'https:' || /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname);
}
