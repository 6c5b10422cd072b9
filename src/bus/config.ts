import { z } from 'zod';
import type { Bus } from './bus.ts';
import { MemoryBus } from './memory-bus.ts';
import { connectNats, NATS_DEFAULTS } from './nats-bus.ts';
import { sealBus } from './sealed-bus.ts';

const file = (about: string) => z.string().min(1).max(4_096).nullable().default(null).describe(about);

/** The section `bus` of the configuration. */
export const busConfigSchema = z.strictObject({
  url: z
    .string()
    .max(2_048)
    .regex(/^(nats|tls):\/\/[^@\s]+$/, 'expected nats://host:port or tls://host:port')
    .nullable()
    .default(null)
    .describe('NATS with JetStream; without one everything stays in this process'),
  caFile: file('PEM: who issued the certificate of the server'),
  certificateFile: file('PEM: our own certificate'),
  keyFile: file('PEM: its key'),
  user: z.string().min(1).max(256).nullable().default(null),
  passwordFile: file('holds the password of that user'),
  tokenFile: file('holds a token'),
  sealingKeyFile: file(
    '32 random bytes, mode 0600 (guardian keys bus FILE): everything on the bus is sealed under it',
  ),
  topicBytes: z
    .int()
    .min(1_048_576)
    .max(2 ** 40)
    .default(NATS_DEFAULTS.maxTopicBytes)
    .describe('what one topic holds on the server at most; its disk is set aside when the topic is made'),
});

export type BusConfig = z.output<typeof busConfigSchema>;

/**
 * The bus that is configured, sealed where there is a key for it. Throws `bus.address-refused`, `bus.unreachable`,
 * `bus.key-refused`, `bus.key-wrong`.
 */
export async function openBus({ url, topicBytes, sealingKeyFile, ...files }: BusConfig): Promise<Bus> {
  if (url === null) return new MemoryBus({ maxTopicBytes: topicBytes });
  const given = Object.fromEntries(Object.entries(files).filter(([, value]) => value !== null));
  const bus = await connectNats({ server: url, maxTopicBytes: topicBytes, ...given });
  return sealingKeyFile === null ? bus : await sealBus(bus, sealingKeyFile);
}
