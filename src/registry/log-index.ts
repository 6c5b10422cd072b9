import { z } from 'zod';
import type { AuditEntry, AuditLog } from '../audit/index.ts';
import type { Digest } from '../base/index.ts';
import { CERTIFICATE_ORIGINS, type CertificateOrigin } from '../models/index.ts';
import { CustodyIndex } from './custody-index.ts';
import { digestField, timeField } from './gate-report.ts';
import { KeyRevocations } from './key-revocations.ts';
import { isName, isVersion } from './names.ts';

export const PUBLISH = 'model.publish';
export const PROMOTE = 'model.promote';
export const ROLLBACK = 'model.rollback';
export const IMPORT = 'model.import';
export const APPROVE = 'model.approve';
export const GATE_DATA = 'model.gate-data';
export const CERTIFY = 'model.certify';

/** What a publish or import intent says; the database's row must say the same. */
export interface Publication {
  readonly intent: number;
  /** RFC 3339 UTC. */
  readonly time: string;
  readonly name: string;
  readonly version: string;
  readonly digest: Digest;
  readonly manifestDigest: Digest;
  readonly schemaId: Digest;
  readonly gatesPassed: boolean;
  readonly dataKeyId: string;
  /** Of the database's whole row, its intent aside. */
  readonly rowDigest: Digest;
  /** Whether it was published with a second signature, which can then not be taken away. */
  readonly secondSignature: boolean;
}

/** What a promote or rollback intent says. */
export interface AliasMove {
  readonly intent: number;
  readonly name: string;
  readonly alias: string;
  readonly version: string;
  readonly previous: string | undefined;
  readonly action: 'promote' | 'rollback';
  readonly principal: string;
  readonly time: string;
  readonly approvals: readonly string[];
  readonly approvalsRequired: 1 | 2;
  /** Indices of the approvals' intents; empty where the move itself is the approval. */
  readonly approvalIntents: readonly number[];
  /** Whose gates counted. */
  readonly gates: 'submitter' | 'evaluator';
  /** Digest of the evaluator's signed report. */
  readonly evidence: Digest | undefined;
  /** Digest of the manifest that the version had. */
  readonly manifestDigest: Digest | undefined;
  /** Index and time of the outcome: from then on the alias points here. */
  readonly outcome: number;
  readonly doneAt: string;
}

/** One person's approval of one version, as its intent says it. */
export interface Approval {
  readonly intent: number;
  readonly name: string;
  readonly version: string;
  readonly principal: string;
  /** RFC 3339 UTC. */
  readonly time: string;
  /** Of the weights. */
  readonly digest: Digest;
  /** Of the gate report in the signed manifest. */
  readonly gateReportDigest: Digest;
  /** Of the gate data registered then; null where there were none. */
  readonly gateDataDigest: Digest | null;
  /** RFC 3339 UTC. */
  readonly expiresAt: string;
}

/** Data that the gates of a model name are run on, as registered. */
export interface GateData {
  readonly intent: number;
  readonly name: string;
  readonly principal: string;
  /** RFC 3339 UTC. */
  readonly time: string;
  /** Absolute, on the registry's machine. */
  readonly path: string;
  readonly labels?: string;
  readonly digest: Digest;
  readonly schemaId: Digest;
  readonly rows: number;
  readonly attacks: number;
}

/** A certificate of a version, as its intent says it. */
export interface Certification {
  readonly intent: number;
  readonly name: string;
  readonly version: string;
  readonly principal: string;
  /** RFC 3339 UTC. */
  readonly time: string;
  /** Of the signed envelope. */
  readonly certificate: Digest;
  readonly origin: CertificateOrigin;
  readonly modelDigest: Digest;
  readonly calibrationDigest: Digest;
  /** RFC 3339 UTC. */
  readonly expiresAt: string;
}

/** The fields of an intent's detail, as the registry writes them. */
const PUBLISH_DETAIL = z.object({
  digest: digestField,
  manifestDigest: digestField,
  schemaId: digestField,
  gatesPassed: z.boolean(),
  dataKeyId: z.string(),
  rowDigest: digestField,
  secondSignature: z.boolean().default(false),
});
const MOVE_DETAIL = z.object({
  alias: z.string().refine(isName),
  previous: z.union([z.null(), z.string().refine(isVersion)]),
  approvals: z.array(z.string()),
  // What follows came later: a log from before has one approval and the submitter's gates.
  approvalsRequired: z.union([z.literal(1), z.literal(2)]).default(1),
  approvalIntents: z.array(z.int()).default([]),
  gates: z.enum(['submitter', 'evaluator']).default('submitter'),
  evidence: digestField.nullable().default(null),
  manifestDigest: digestField.nullable().default(null),
});
const APPROVE_DETAIL = z.object({
  digest: digestField,
  gateReportDigest: digestField,
  gateDataDigest: digestField.nullable(),
  expiresAt: timeField,
});
const GATE_DATA_DETAIL = z.object({
  path: z.string(),
  labels: z.string().nullable(),
  digest: digestField,
  schemaId: digestField,
  rows: z.int(),
  attacks: z.int(),
});

const CERTIFY_DETAIL = z.object({
  certificate: digestField,
  origin: z.enum(CERTIFICATE_ORIGINS),
  modelDigest: digestField,
  calibrationDigest: digestField,
  expiresAt: timeField,
});

type OpenMove = Omit<AliasMove, 'outcome' | 'doneAt'>;

/**
 * What the audit log says was published and where aliases point. The log decides; the database is believed only where
 * it agrees. Read once at the start, then kept up with `catchUp`.
 */
export class LogIndex {
  /** Tags, holds, removals and escrows. */
  readonly custody = new CustodyIndex();
  readonly revocations = new KeyRevocations();
  readonly #log: AuditLog;
  readonly #publications = new Map<string, Publication>();
  readonly #unfinished: Publication[] = [];
  readonly #versions = new Map<string, Set<string>>();
  readonly #moves = new Map<string, AliasMove[]>();
  readonly #aliases = new Map<string, Set<string>>();
  readonly #approvals = new Map<string, Approval[]>();
  readonly #gateData = new Map<string, GateData>();
  readonly #certifications = new Map<string, Certification>();
  /** What waits for its outcome, by the index of its intent: settled when the outcome says done. */
  readonly #open = new Map<number, (index: number, entry: AuditEntry) => void>();
  #read = 0;

  constructor(log: AuditLog) {
    this.#log = log;
  }

  /** Reads what was appended since the last call. */
  async catchUp(): Promise<void> {
    const to = this.#log.size;
    if (to <= this.#read) return;
    for await (const { index, entry } of this.#log.entries(this.#read, to)) {
      this.#add(index, entry);
      this.custody.add(index, entry);
      this.revocations.add(index, entry);
      this.#read = index + 1;
    }
  }

  publication(name: string, version: string): Publication | undefined {
    return this.#publications.get(`${name}@${version}`);
  }

  versions(name: string): ReadonlySet<string> {
    return this.#versions.get(name) ?? new Set();
  }

  /** Publications that failed or were cut short; their files are to be removed. */
  get unfinished(): readonly Publication[] {
    return this.#unfinished;
  }

  /** Every done move of one alias, oldest first. */
  moves(name: string, alias: string): readonly AliasMove[] {
    return this.#moves.get(`${name}@${alias}`) ?? [];
  }

  /** Every done move of every alias of a model, oldest first. */
  allMoves(name: string): readonly AliasMove[] {
    return this.#aliasesOf(name)
      .flatMap((alias) => this.moves(name, alias))
      .sort((a, b) => a.intent - b.intent);
  }

  /** The latest move of each alias of a model. */
  pointers(name: string): readonly AliasMove[] {
    return this.#aliasesOf(name).flatMap((alias) => this.moves(name, alias).slice(-1));
  }

  /** Every approval of a version, expired ones too, oldest first. */
  approvals(name: string, version: string): readonly Approval[] {
    return this.#approvals.get(`${name}@${version}`) ?? [];
  }

  /** What the gates of a model are run on: the set registered last. */
  gateData(name: string): GateData | undefined {
    return this.#gateData.get(name);
  }

  /** The certificate of a version that was made last. */
  certification(name: string, version: string): Certification | undefined {
    return this.#certifications.get(`${name}@${version}`);
  }

  #aliasesOf(name: string): readonly string[] {
    return [...(this.#aliases.get(name) ?? [])];
  }

  #add(index: number, entry: AuditEntry): void {
    if (entry.kind === 'intent') this.#addIntent(index, entry);
    else if (entry.kind === 'outcome' && entry.intent !== undefined) {
      this.#open.get(entry.intent)?.(index, entry);
      this.#open.delete(entry.intent);
    }
  }

  #addIntent(index: number, entry: AuditEntry): void {
    const [name = '', version = ''] = entry.subject.split('@');
    if (!isName(name)) return;
    if (entry.action === GATE_DATA) this.#addGateData(index, entry, name);
    if (!isVersion(version)) return;
    switch (entry.action) {
      case PUBLISH:
      case IMPORT:
        this.#addPublication(index, entry, { name, version });
        break;
      case PROMOTE:
      case ROLLBACK:
        this.#addMove(index, entry, { name, version });
        break;
      case APPROVE:
        this.#addApproval(index, entry, { name, version });
        break;
      case CERTIFY:
        this.#addCertification(index, entry, { name, version });
        break;
    }
  }

  #addPublication(intent: number, entry: AuditEntry, of: { name: string; version: string }): void {
    const detail = PUBLISH_DETAIL.safeParse(entry.detail);
    if (!detail.success) return;
    const publication: Publication = { intent, time: entry.time, ...of, ...detail.data };
    this.#open.set(intent, (_, outcome) => {
      if (outcome.result === 'done') {
        this.#publications.set(`${of.name}@${of.version}`, publication);
        addTo(this.#versions, of.name, of.version);
      } else this.#unfinished.push(publication);
    });
  }

  #addMove(intent: number, entry: AuditEntry, of: { name: string; version: string }): void {
    const detail = MOVE_DETAIL.safeParse(entry.detail);
    if (!detail.success) return;
    const { previous, evidence, manifestDigest, ...rest } = detail.data;
    const move: OpenMove = {
      intent,
      ...of,
      ...rest,
      previous: previous ?? undefined,
      evidence: evidence ?? undefined,
      manifestDigest: manifestDigest ?? undefined,
      action: entry.action === PROMOTE ? 'promote' : 'rollback',
      principal: entry.principal,
      time: entry.time,
    };
    this.#open.set(intent, (outcome, { result, time: doneAt }) => {
      if (result !== 'done') return;
      pushTo(this.#moves, `${of.name}@${move.alias}`, { ...move, outcome, doneAt });
      addTo(this.#aliases, of.name, move.alias);
    });
  }

  #addApproval(intent: number, entry: AuditEntry, of: { name: string; version: string }): void {
    const detail = APPROVE_DETAIL.safeParse(entry.detail);
    if (!detail.success) return;
    const { principal, time } = entry;
    this.#open.set(intent, (_, { result }) => {
      if (result !== 'done') return;
      pushTo(this.#approvals, `${of.name}@${of.version}`, { intent, ...of, principal, time, ...detail.data });
    });
  }

  #addCertification(intent: number, entry: AuditEntry, of: { name: string; version: string }): void {
    const detail = CERTIFY_DETAIL.safeParse(entry.detail);
    if (!detail.success) return;
    const { principal, time } = entry;
    this.#open.set(intent, (_, { result }) => {
      if (result !== 'done') return;
      this.#certifications.set(`${of.name}@${of.version}`, {
        intent,
        ...of,
        principal,
        time,
        ...detail.data,
      });
    });
  }

  #addGateData(intent: number, entry: AuditEntry, name: string): void {
    const detail = GATE_DATA_DETAIL.safeParse(entry.detail);
    if (!detail.success) return;
    const { labels, ...rest } = detail.data;
    const { principal, time } = entry;
    this.#open.set(intent, (_, { result }) => {
      if (result !== 'done') return;
      this.#gateData.set(name, {
        intent,
        name,
        principal,
        time,
        ...rest,
        ...(labels !== null && { labels }),
      });
    });
  }
}

function addTo(sets: Map<string, Set<string>>, key: string, value: string): void {
  const set = sets.get(key);
  if (set === undefined) sets.set(key, new Set([value]));
  else set.add(value);
}

function pushTo<T>(lists: Map<string, T[]>, key: string, value: T): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [value]);
  else list.push(value);
}
