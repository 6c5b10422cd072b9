import { AuditError, audited } from '../audit/index.ts';
import type { Digest, Milliseconds } from '../base/index.ts';
import { canonicalJson, type KeyInfo, type KeyPurpose } from '../crypto/index.ts';
import type { Certificate } from '../models/index.ts';
import type { VersionRow } from '../storage/index.ts';
import { type Admission, admitVersion } from './admit.ts';
import { type AliasChange, aliasHistory, promoteVersion, resolveAlias, rollbackAlias } from './aliases.ts';
import { approvalsRequired, approveVersion, liveApprovals } from './approvals.ts';
import { type CertifiedVersion, certifyVersion, readCertificate } from './certify-version.ts';
import type { Actor, RegistryContext, RegistryParts } from './context.ts';
import { Custody, type CustodyState } from './custody.ts';
import { readEvidence } from './door-gates.ts';
import { RegistryError } from './errors.ts';
import type { EvaluatorReport } from './evaluator-report.ts';
import { type ExportFiles, verifyExport, writeExport } from './export.ts';
import { registerGateData } from './gate-data.ts';
import type { CertificationTerms, GateDataFiles } from './gate-evaluator.ts';
import type { GateReport } from './gate-report.ts';
import { type ImportOptions, importVersion } from './import.ts';
import { type Approval, type GateData, LogIndex, type Publication } from './log-index.ts';
import { type Manifest, SIGNATURE_FILE, SIGNED_FILES } from './manifest.ts';
import { parseReference } from './names.ts';
import { DEFAULT_REGISTRY_POLICY } from './policy.ts';
import type { AcceptModel, Resident } from './prepare-move.ts';
import { type Candidate, type PublishedVersion, type PublishOptions, publishVersion } from './publish.ts';
import { recoverRegistry } from './recover.ts';
import { RETENTION_DEFAULTS } from './retention-config.ts';
import { type KeyRotation, type RotateOptions, revokeKey, rotateKey } from './rotate-keys.ts';
import { SECOND_SIGNATURE_FILE } from './second-signature.ts';
import { type ServedAt, servedAt } from './served-at.ts';
import type { VerifiedCertificate } from './verified-certificate.ts';
import type { VerifiedModel } from './verify.ts';
import { blobNames, findPublication, verifyStored } from './version-files.ts';

/** A version as a list shows it. */
export interface VersionSummary extends CustodyState {
  readonly name: string;
  readonly version: string;
  readonly digest: Digest;
  readonly schemaId: Digest;
  readonly sourceKinds: readonly string[];
  readonly gatesPassed: boolean;
  readonly createdAt: string;
  readonly author: string;
  /** Aliases that point here, by the audit log. */
  readonly aliases: readonly string[];
  /** False where database and audit log disagree; such a version is refused everywhere else. */
  readonly isInLog: boolean;
}

/** All about one verified version. */
export interface VersionDetails extends VersionSummary {
  readonly manifest: Manifest;
  readonly gates: GateReport;
  readonly history: readonly AliasChange[];
  /** Those that count now. */
  readonly approvals: readonly Approval[];
  readonly approvalsRequired: 1 | 2;
  /** The evaluator's newest signed report; null where none was made. */
  readonly evidence: (EvaluatorReport & { readonly signedBy: string }) | null;
  /** What the version is certified for, without the distribution of the rows; null where it has no certificate. */
  readonly certificate: (Omit<Certificate, 'drift'> & { readonly signedBy: string }) | null;
}

export interface ResolvedVersion {
  readonly name: string;
  readonly version: string;
  readonly digest: Digest;
  /** Present where the reference named one, or named none and meant `champion`. */
  readonly alias?: string;
  /** Index of the intent that published the version or, with an alias, moved the alias here. */
  readonly intent: number;
}

/**
 * The guarded life of models. What changes something is audited and runs one at a time; what reads believes the
 * database only where the audit log agrees. Errors are `registry.*`; tampering is of category security.
 */
export interface Registry {
  publish(candidate: Candidate, by: Actor, options?: PublishOptions): Promise<PublishedVersion>;
  /** What `accept` throws is a refusal like any other: the alias stays, and the log says so. */
  promote(
    name: string,
    version: string,
    alias: string,
    by: Actor,
    accept?: AcceptModel,
  ): Promise<AliasChange>;
  /** `resident` finds what is still in memory, for when the key store is away. */
  rollback(
    name: string,
    alias: string,
    by: Actor,
    resident?: Resident,
    accept?: AcceptModel,
  ): Promise<AliasChange>;
  /** Lets a version decide for a share of the sources where it might be promoted; `start` sets it to work. */
  admit(
    target: { readonly name: string; readonly version: string; readonly percent: number },
    by: Actor,
    start: (model: VerifiedModel) => Promise<void>,
  ): Promise<Admission>;
  /** Records that somebody other than the author approves a version. */
  approve(name: string, version: string, by: Actor): Promise<Approval>;
  /** Registers the data that the gates of a model are run on at the door. */
  registerGateData(
    name: string,
    source: GateDataFiles & { readonly schemaBytes: Uint8Array },
    by: Actor,
  ): Promise<GateData>;
  gateData(name: string): GateData | undefined;
  /** Certifies a version on those data and attaches what came out. */
  certify(name: string, version: string, terms: CertificationTerms, by: Actor): Promise<CertifiedVersion>;
  /** The certificate of a version, verified; undefined where it has none. */
  certificate(model: VerifiedModel): Promise<VerifiedCertificate | undefined>;
  /** Takes in an export of another registry that a trusted key signed. */
  importFiles(
    files: ExportFiles,
    trustedKeysPem: readonly string[],
    by: Actor,
    options?: ImportOptions,
  ): Promise<PublishedVersion>;
  /** Oldest first. */
  history(name: string): Promise<readonly AliasChange[]>;
  /** What an alias pointed at, at one time, with proofs. */
  servedAt(name: string, alias: string, at: Milliseconds): Promise<ServedAt>;
  /** In order of publication. */
  list(name?: string): Promise<readonly VersionSummary[]>;
  /** Verifies first. */
  show(reference: string): Promise<VersionDetails>;
  resolve(reference: string): Promise<ResolvedVersion>;
  verify(reference: string): Promise<VerifiedModel>;
  /** Verifies, then writes plain files into a folder that must not exist; stands in the audit log. */
  exportTo(reference: string, folder: string, by?: Actor): Promise<void>;
  verifyExport(folder: string, trustedKeysPem: readonly string[]): Promise<VerifiedModel>;
  /** Makes a new active key; for `wrapping` every data key is wrapped anew, without touching a blob. */
  rotateKey(purpose: KeyPurpose, by: Actor, options?: RotateOptions): Promise<KeyRotation>;
  /** Ends every use of a key, from an earlier time on where `from` (RFC 3339) says so. */
  revokeKey(id: string, by: Actor, options?: { readonly from?: string }): Promise<KeyInfo>;
  /** Tags, holds, lineage, documents, retention and erase. */
  readonly custody: Custody;
}

/** Recovers from a crash, then opens. The caller owns the state folder and closes the parts afterwards. */
export async function openRegistry(parts: RegistryParts): Promise<Registry> {
  const context: RegistryContext = {
    ...parts,
    index: new LogIndex(parts.log),
    policy: { ...DEFAULT_REGISTRY_POLICY, ...parts.policy },
    retention: parts.retention ?? RETENTION_DEFAULTS,
  };
  await recoverRegistry(context);
  return new EmbeddedRegistry(context);
}

/** What a read says that meets a change half way; and for good where something was tampered with. */
const IN_BETWEEN: ReadonlySet<string> = new Set([
  'registry.pointer-not-in-log',
  'registry.version-not-in-log',
]);

class EmbeddedRegistry implements Registry {
  readonly custody: Custody;
  readonly #context: RegistryContext;
  #last: Promise<unknown> = Promise.resolve();

  constructor(context: RegistryContext) {
    this.#context = context;
    this.custody = new Custody(context, (work) => this.#exclusive(work));
  }

  publish(candidate: Candidate, by: Actor, options: PublishOptions = {}): Promise<PublishedVersion> {
    return this.#exclusive(async () => {
      const published = await publishVersion(this.#context, candidate, by, options);
      await this.custody.tidy(published.name);
      return published;
    });
  }

  promote(
    name: string,
    version: string,
    alias: string,
    by: Actor,
    accept?: AcceptModel,
  ): Promise<AliasChange> {
    return this.#exclusive(() => promoteVersion(this.#context, { name, version, alias }, by, accept));
  }

  rollback(
    name: string,
    alias: string,
    by: Actor,
    resident?: Resident,
    accept?: AcceptModel,
  ): Promise<AliasChange> {
    return this.#exclusive(() => rollbackAlias(this.#context, { name, alias }, by, resident, accept));
  }

  admit(
    target: { readonly name: string; readonly version: string; readonly percent: number },
    by: Actor,
    start: (model: VerifiedModel) => Promise<void>,
  ): Promise<Admission> {
    return this.#exclusive(() => admitVersion(this.#context, target, by, start));
  }

  approve(name: string, version: string, by: Actor): Promise<Approval> {
    return this.#exclusive(() => approveVersion(this.#context, { name, version }, by));
  }

  registerGateData(
    name: string,
    source: GateDataFiles & { readonly schemaBytes: Uint8Array },
    by: Actor,
  ): Promise<GateData> {
    return this.#exclusive(() => registerGateData(this.#context, name, source, by));
  }

  gateData(name: string): GateData | undefined {
    return this.#context.index.gateData(name);
  }

  certify(name: string, version: string, terms: CertificationTerms, by: Actor): Promise<CertifiedVersion> {
    return this.#exclusive(() => certifyVersion(this.#context, { name, version }, terms, by));
  }

  certificate(model: VerifiedModel): Promise<VerifiedCertificate | undefined> {
    return readCertificate(this.#context, model);
  }

  importFiles(
    files: ExportFiles,
    trustedKeysPem: readonly string[],
    by: Actor,
    options: ImportOptions = {},
  ): Promise<PublishedVersion> {
    return this.#exclusive(() => importVersion(this.#context, files, trustedKeysPem, by, options));
  }

  async servedAt(name: string, alias: string, at: Milliseconds): Promise<ServedAt> {
    return await this.#settled(() => servedAt(this.#context, { name, alias, at }));
  }

  rotateKey(purpose: KeyPurpose, by: Actor, options?: RotateOptions): Promise<KeyRotation> {
    return this.#exclusive(() => rotateKey(this.#context, purpose, by, options));
  }

  revokeKey(id: string, by: Actor, options: { readonly from?: string } = {}): Promise<KeyInfo> {
    return this.#exclusive(() => revokeKey(this.#context, { id, ...options }, by));
  }

  async history(name: string): Promise<readonly AliasChange[]> {
    return await this.#settled(() => aliasHistory(this.#context, name));
  }

  async list(name?: string): Promise<readonly VersionSummary[]> {
    const rows = await this.#context.db.versions.list(name);
    return await Promise.all(rows.map((row) => this.#summary(row)));
  }

  async show(reference: string): Promise<VersionDetails> {
    const { name, version } = await this.resolve(reference);
    const { model } = await verifyStored(this.#context, name, version);
    const row = await this.#context.db.versions.find(name, version);
    if (row === undefined) {
      throw new RegistryError('registry.version-not-in-log', `the row of ${name}@${version} is gone`);
    }
    const history = (await this.history(name)).filter((change) => change.version === version);
    const evidence = history.findLast((change) => change.evidence !== undefined)?.evidence;
    return {
      ...(await this.#summary(row)),
      manifest: model.manifest,
      gates: model.gates,
      history,
      approvals: liveApprovals(this.#context, model),
      approvalsRequired: approvalsRequired(this.#context),
      evidence: evidence === undefined ? null : await readEvidence(this.#context, evidence),
      certificate: await this.#certificateOf(model),
    };
  }

  async resolve(reference: string): Promise<ResolvedVersion> {
    const asked = parseReference(reference);
    if ('version' in asked) {
      const { digest, intent } = await this.#publication(asked.name, asked.version);
      return { ...asked, digest, intent };
    }
    const { name, alias } = asked;
    const { version, intent } = await this.#settled(() => resolveAlias(this.#context, name, alias));
    const { digest } = await this.#publication(name, version);
    return { name, version, digest, alias, intent };
  }

  async verify(reference: string): Promise<VerifiedModel> {
    const { name, version } = await this.resolve(reference);
    return (await verifyStored(this.#context, name, version)).model;
  }

  async exportTo(reference: string, folder: string, by: Actor = { principal: 'local' }): Promise<void> {
    const { name, version, digest } = await this.resolve(reference);
    const input = {
      action: 'model.export',
      principal: by.principal,
      subject: `${name}@${version}`,
      detail: { digest },
    };
    await audited(this.#context.log, input, async () => {
      const { model, weights } = await verifyStored(this.#context, name, version);
      const names = blobNames(name, version);
      await writeExport(folder, {
        [SIGNED_FILES.weights]: weights,
        [SIGNED_FILES.manifest]: Buffer.from(canonicalJson(model.manifest)),
        [SIGNED_FILES.gates]: Buffer.from(canonicalJson(model.gates)),
        [SIGNED_FILES.schema]: model.schemaBytes,
        [SIGNATURE_FILE]: await this.#context.blobs.get(names.signature),
        ...((await this.#context.blobs.has(names.secondSignature)) && {
          [SECOND_SIGNATURE_FILE]: await this.#context.blobs.get(names.secondSignature),
        }),
      });
    });
  }

  async verifyExport(folder: string, trustedKeysPem: readonly string[]): Promise<VerifiedModel> {
    return await verifyExport(folder, trustedKeysPem);
  }

  async #certificateOf(model: VerifiedModel): Promise<VersionDetails['certificate']> {
    const verified = await this.certificate(model);
    if (verified === undefined) return null;
    const { drift: _, ...certificate } = verified.certificate;
    return { ...certificate, signedBy: verified.signedBy };
  }

  async #summary(row: VersionRow): Promise<VersionSummary> {
    const { intent: _, dataKeyId: __, ...shown } = row;
    const isInLog = await this.#publication(row.name, row.version).then(
      () => true,
      () => false,
    );
    const aliases = this.#context.index
      .pointers(row.name)
      .filter((move) => move.version === row.version)
      .map((move) => move.alias)
      .sort();
    return { ...shown, aliases, isInLog, ...this.custody.stateOf(row.name, row.version) };
  }

  #publication(name: string, version: string): Promise<Publication> {
    return this.#settled(() => findPublication(this.#context, name, version));
  }

  /**
   * Reads. Between a change's row and its outcome database and log do disagree: then it is read once more, in line behind
   * the change. Never to be called from within the line. Throws `audit.append-failed` where they disagree because an outcome
   * waits for room on the disk.
   */
  async #settled<T>(read: () => Promise<T>): Promise<T> {
    try {
      return await read();
    } catch (error) {
      if (!(error instanceof RegistryError) || !IN_BETWEEN.has(error.code)) throw error;
      return await this.#exclusive(async () => {
        const { index, log } = this.#context;
        await index.catchUp();
        try {
          return await read();
        } catch (again) {
          if (log.health.owed === 0) throw again;
          throw new AuditError('audit.append-failed', 'the outcome of a change waits for room on the disk', {
            cause: again,
          });
        }
      });
    }
  }

  /** One change at a time, in the order of the calls; the log's index is current before and after. */
  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const run = async () => {
      try {
        return await work();
      } finally {
        await this.#context.index.catchUp();
      }
    };
    const result = this.#last.then(run, run);
    this.#last = result.catch(() => undefined);
    return result;
  }
}
