import type { Bytes, Milliseconds } from '../../base/index.ts';

/** What a decoder of exported flows holds at most. What is over a limit is refused and counted by the limit's name. */
export interface NetflowLimits {
  /** Exporter sessions times observation domains; the one silent for longest gives way. */
  readonly maxDomains: number;
  /** Templates of one domain. */
  readonly maxTemplates: number;
  /** Fields of one template. */
  readonly maxFields: number;
  /** Fields of all templates of all domains. */
  readonly maxFieldsTotal: number;
  /** How long a template holds without being sent again (RFC 7011, section 8.4: at least three refresh periods). */
  readonly templateLifetimeMs: Milliseconds;
  /** Data sets that came before their template, of all domains. */
  readonly maxWaitingSets: number;
  readonly maxWaitingBytes: Bytes;
  /** How long such a set waits. */
  readonly waitMs: Milliseconds;
  /** Longest message that is read. */
  readonly maxMessageBytes: Bytes;
}

export const NETFLOW_LIMITS: NetflowLimits = {
  maxDomains: 1024,
  maxTemplates: 256,
  maxFields: 512,
  maxFieldsTotal: 1 << 17,
  templateLifetimeMs: 1_800_000,
  maxWaitingSets: 1024,
  maxWaitingBytes: 1 << 20,
  waitMs: 600_000,
  maxMessageBytes: 65_535,
};
