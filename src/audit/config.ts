import { z } from 'zod';
import { NOTE_COSIGNATURE, parseVerifierKey } from './note.ts';

/** Where text may be sent: https, or http to this machine. */
export function isSafeUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname, username, password } = new URL(text);
  if (username !== '' || password !== '') return false;
  const isLoopback = hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname);
  return protocol === 'https:' || (protocol === 'http:' && isLoopback);
}

const safeUrl = z
  .string()
  .max(2_048)
  .refine(isSafeUrl, 'expected https, or http on loopback, without credentials');

const witnessConfigSchema = z.strictObject({
  url: safeUrl.describe('submission prefix of a C2SP tlog-witness'),
  key: z
    .string()
    .max(1_024)
    .refine(
      (text) => parseVerifierKey(text)?.type === NOTE_COSIGNATURE,
      'expected a verifier key name+id+key of type 4 (cosignature/v1)',
    ),
});

/** The section `audit` of the configuration. */
export const auditConfigSchema = z
  .strictObject({
    checkpointEntries: z
      .number()
      .int()
      .min(1)
      .max(1e6)
      .default(256)
      .describe('a checkpoint after so many entries'),
    checkpointDelayMs: z
      .number()
      .min(1)
      .max(3_600_000)
      .default(1_000)
      .describe('and so long after an append'),
    publicTiles: z
      .boolean()
      .default(false)
      .describe('serve /checkpoint and /tile to anyone: every entry becomes readable without a key'),
    copies: z
      .array(
        z
          .string()
          .min(1)
          .max(4_096)
          .refine(isCopyPlace, 'expected an absolute folder, https, or http on loopback'),
      )
      .max(16)
      .default([])
      .describe('folders or addresses outside this machine to which each new checkpoint is copied'),
    witnesses: z.array(witnessConfigSchema).max(16).default([]),
    cosignaturesWanted: z
      .number()
      .int()
      .min(0)
      .max(16)
      .default(0)
      .describe('cosignatures without which a checkpoint is not kept as a witnessed one'),
  })
  .refine(({ witnesses, cosignaturesWanted }) => cosignaturesWanted <= witnesses.length, {
    message: 'expected at most as many cosignatures as there are witnesses',
  });

export type AuditConfig = z.output<typeof auditConfigSchema>;

function isCopyPlace(text: string): boolean {
  return text.startsWith('/') || isSafeUrl(text);
}
