import { type AuditLog, proofText } from '../audit/index.ts';
import type { Milliseconds } from '../base/index.ts';
import { parseCanonicalJson, sha256 } from '../crypto/index.ts';
import { type AliasChange, toChange } from './aliases.ts';
import type { RegistryContext } from './context.ts';
import { readEvidence } from './door-gates.ts';
import { RegistryError } from './errors.ts';
import type { EvaluatorReport } from './evaluator-report.ts';
import { GATE_REPORT, type GateReport } from './gate-report.ts';
import type { AliasMove, Approval } from './log-index.ts';
import { MANIFEST } from './manifest.ts';
import { checkName } from './names.ts';
import { blobNames } from './version-files.ts';

/** An entry of the audit log with its offline proof (C2SP tlog-proof). */
export interface ProvenMove {
  readonly about: 'intent' | 'outcome' | 'approval';
  readonly index: number;
  readonly proof: string;
}

/** What an alias pointed at, at one time, who let it, on what evidence. */
export interface ServedAt {
  readonly name: string;
  readonly alias: string;
  /** RFC 3339 UTC. */
  readonly at: string;
  /** Null where the alias did not exist yet. */
  readonly change: AliasChange | null;
  /** The move that ended it; null where it still holds. */
  readonly until: { readonly time: string; readonly version: string; readonly outcome: number } | null;
  readonly approvals: readonly Approval[];
  /** The evaluator's signed report; null where the submitter's gates counted. */
  readonly evidence: (EvaluatorReport & { readonly signedBy: string }) | null;
  /** The gate report in the version's manifest; null where the version was erased since. */
  readonly gateReport: GateReport | null;
  readonly proofs: readonly ProvenMove[];
}

/**
 * Answers from the log's index, reads one row, and proves what it says: no scan, whatever the length of the history.
 * A move counts from its outcome. Throws `registry.pointer-not-in-log`, `registry.evidence-tampered`.
 */
export async function servedAt(
  context: RegistryContext,
  asked: { readonly name: string; readonly alias: string; readonly at: Milliseconds },
): Promise<ServedAt> {
  const { name, alias } = asked;
  checkName(name, 'model name');
  checkName(alias, 'alias');
  const moves = context.index.moves(name, alias);
  if (moves.length === 0) throw new RegistryError('registry.alias-unknown', `${name} has no alias ${alias}`);
  // From the end, and not by bisection: a clock that was set back leaves times out of order, the log never is.
  const i = moves.findLastIndex(({ doneAt }) => Date.parse(doneAt) <= asked.at);
  const at = new Date(asked.at).toISOString();
  const move = moves[i];
  const next = moves[i + 1];
  const until =
    next === undefined ? null : { time: next.doneAt, version: next.version, outcome: next.outcome };
  if (move === undefined) {
    return {
      name,
      alias,
      at,
      change: null,
      until,
      approvals: [],
      evidence: null,
      gateReport: null,
      proofs: [],
    };
  }
  await checkRow(context, move);
  const approvals = context.index
    .approvals(name, move.version)
    .filter(({ intent }) => move.approvalIntents.includes(intent));
  const [evidence, gateReport, proofs] = await Promise.all([
    move.evidence === undefined ? null : readEvidence(context, move.evidence),
    readGateReport(context, move),
    proveAll(context.log, [
      ['intent', move.intent],
      ['outcome', move.outcome],
      ...approvals.map(({ intent }) => ['approval', intent] as const),
    ]),
  ]);
  const change = toChange(move);
  return { name, alias, at, change, until, approvals, evidence, gateReport, proofs };
}

/** The database must tell the same of this very move. */
async function checkRow(context: RegistryContext, move: AliasMove): Promise<void> {
  const row = await context.db.aliases.findChange(move.intent);
  const agrees =
    row !== undefined &&
    row.name === move.name &&
    row.alias === move.alias &&
    row.version === move.version &&
    row.previous === move.previous &&
    row.action === move.action &&
    row.principal === move.principal &&
    row.approvals.join('\n') === move.approvals.join('\n');
  if (agrees) return;
  throw new RegistryError(
    'registry.pointer-not-in-log',
    `the move of ${move.name}@${move.alias} is not that of the audit log`,
  );
}

/** By the manifest whose digest the log holds; weights and signature are not needed for it. */
async function readGateReport(context: RegistryContext, move: AliasMove): Promise<GateReport | null> {
  const digest = move.manifestDigest ?? context.index.publication(move.name, move.version)?.manifestDigest;
  const names = blobNames(move.name, move.version);
  if (digest === undefined || !(await context.blobs.has(names.manifest))) return null;
  const manifest = await context.blobs.get(names.manifest);
  const gates = (await context.blobs.has(names.gates)) ? await context.blobs.get(names.gates) : undefined;
  if (sha256(manifest) !== digest || gates === undefined) throw changed(move);
  const { gateReportDigest } = MANIFEST.parse(parseCanonicalJson(Buffer.from(manifest).toString('utf8')));
  if (sha256(gates) !== gateReportDigest) throw changed(move);
  return GATE_REPORT.parse(parseCanonicalJson(Buffer.from(gates).toString('utf8')));
}

function proveAll(
  log: AuditLog,
  entries: readonly (readonly [ProvenMove['about'], number])[],
): Promise<readonly ProvenMove[]> {
  return Promise.all(
    entries.map(async ([about, index]) => ({ about, index, proof: await proofText(log, index) })),
  );
}

function changed(move: AliasMove): RegistryError {
  return new RegistryError(
    'registry.evidence-tampered',
    `manifest or gate report of ${move.name}@${move.version} are not those of the audit log`,
  );
}
