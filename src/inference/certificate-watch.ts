import type { Clock, Milliseconds } from '../base/index.ts';
import type { FeatureBatch } from '../features/index.ts';
import {
  type CertificateState,
  type CertifiedSide,
  DriftWindow,
  type ShiftedColumn,
  sideConfidence,
} from '../models/index.ts';
import type { VerifiedCertificate } from '../registry/index.ts';
import type { InferenceConfig } from './config.ts';

/** A certificate begins or ceases to count for one source kind. */
export interface CertificateChange {
  readonly model: { readonly name: string; readonly version: string };
  readonly change: 'activate' | 'suspend';
  readonly sourceKind: string;
  /** `replaced`: another model took its place, and nobody looks at its traffic any longer. */
  readonly reason: 'like the calibration data' | 'shifted' | 'expired' | 'replaced' | 'revoked';
  /** Live rows that were compared. */
  readonly rows: number;
  /** Strongest first. */
  readonly shifted: readonly ShiftedColumn[];
  /** Of the signed certificate. */
  readonly certificate: string;
}

/**
 * Notes a change. An activation takes effect when `apply` is called, which must be after it was noted; where this throws
 * it never does. A suspension has taken effect already.
 */
export type NoteCertificateChange = (change: CertificateChange, apply: () => void) => Promise<void>;

/** What a certificate is worth for one source kind now. */
export interface WatchedKind {
  readonly sourceKind: string;
  readonly state: CertificateState;
  readonly reason: string;
  /** Rows in the window that is not full yet. */
  readonly windowRows: number;
}

export interface CertificateWatchOptions {
  readonly verified: VerifiedCertificate;
  readonly model: CertificateChange['model'];
  /** By which the model decides here. */
  readonly decisionThreshold: number;
  readonly config: InferenceConfig['certificate'];
  readonly clock: Clock;
  /** Without it no certificate is ever active: what is not noted does not happen. */
  readonly note: NoteCertificateChange | undefined;
}

interface Kind {
  readonly window: DriftWindow;
  isActive: boolean;
  reason: string;
  /** Rows seen, sampled or not. */
  seen: number;
  /** Grows with each suspension: an activation under way does not outlive it. */
  epoch: number;
}

/**
 * The state of one certificate while its model serves. Suspended at the start; a full window of live rows that looks
 * like the calibration data activates it for their source kind, one that does not suspends it, and so does its expiry.
 * Windows follow one another, so a shift that lasts is met after two of them at most, and after one where it begins with
 * one. Memory: the bins of one window a source kind.
 */
export class CertificateWatch {
  readonly #options: CertificateWatchOptions;
  readonly #kinds = new Map<string, Kind>();
  #refusal: string | undefined;
  readonly #expiresMs: Milliseconds;

  constructor(options: CertificateWatchOptions) {
    this.#options = options;
    const { certificate } = options.verified;
    this.#expiresMs = Date.parse(certificate.expiresAt);
    this.#refusal = refusalOf(options);
    if (this.#refusal !== undefined) return;
    for (const kind of certificate.sourceKinds) {
      this.#kinds.set(kind, {
        window: new DriftWindow(certificate.drift),
        isActive: false,
        reason: 'no window of live rows has been compared yet',
        seen: 0,
        epoch: 0,
      });
    }
  }

  /** For decisions on rows of a kind, apart from how sure each of them is. Suspends what has expired. */
  stateOf(sourceKind: string): CertificateState {
    const kind = this.#kinds.get(sourceKind);
    if (kind === undefined) return 'refused';
    if (this.#options.clock.now() >= this.#expiresMs) {
      if (kind.isActive) this.#suspend(sourceKind, kind, 'expired');
      kind.reason = 'expired';
      return 'suspended';
    }
    return kind.isActive ? 'active' : 'suspended';
  }

  /** Probabilities at which `covers` changes its answer. */
  get cuts(): readonly number[] {
    const { decisionThreshold, claims } = this.#options.verified.certificate;
    return [decisionThreshold, claims.block.threshold, 1 - claims.allow.threshold];
  }

  /** Whether an active certificate speaks of a decision. */
  covers(probability: number): boolean {
    const { decisionThreshold, claims } = this.#options.verified.certificate;
    const side: CertifiedSide = probability >= decisionThreshold ? 'block' : 'allow';
    const { status, threshold } = claims[side];
    return status !== 'refused' && sideConfidence(side, probability) >= threshold;
  }

  /** Adds live rows [from, to) with the probabilities the model gave them, but those that the extractor refused. */
  observe(batch: FeatureBatch, from: number, to: number, probability: Float32Array): void {
    const kind = this.#kinds.get(batch.sourceKind);
    if (kind === undefined) return;
    const { windowRows, sampleEvery } = this.#options.config;
    const { columns, values, rejected } = batch;
    const refused = rejected.length === 0 ? undefined : new Set(rejected.map(({ row }) => row));
    for (let row = from; row < to; row++) {
      if (kind.seen++ % sampleEvery !== 0 || refused?.has(row) === true) continue;
      kind.window.add(values.subarray(row * columns, (row + 1) * columns), probability[row - from] as number);
      if (kind.window.rows >= windowRows) this.#compare(batch.sourceKind, kind);
    }
  }

  /** Another model took the place of this one. */
  retire(): void {
    for (const [sourceKind, kind] of this.#kinds) {
      kind.window.clear();
      if (kind.isActive) this.#suspend(sourceKind, kind, 'replaced');
      kind.epoch++;
    }
  }

  /** The key that signed it was revoked: it never permits anything again. */
  withdraw(): void {
    for (const [sourceKind, kind] of this.#kinds) {
      if (kind.isActive) this.#suspend(sourceKind, kind, 'revoked');
      kind.epoch++;
    }
    this.#kinds.clear();
    this.#refusal = 'the key that signed it was revoked';
  }

  /** Id of the evaluator's key. */
  get signedBy(): string {
    return this.#options.verified.signedBy;
  }

  get origin(): string {
    return this.#options.verified.certificate.origin;
  }

  get expiresAt(): string {
    return this.#options.verified.certificate.expiresAt;
  }

  get kinds(): readonly WatchedKind[] {
    const { sourceKinds } = this.#options.verified.certificate;
    return sourceKinds.map((sourceKind) => {
      const state = this.stateOf(sourceKind);
      const kind = this.#kinds.get(sourceKind);
      return {
        sourceKind,
        state,
        reason: kind?.reason ?? this.#refusal ?? '',
        windowRows: kind?.window.rows ?? 0,
      };
    });
  }

  #compare(sourceKind: string, kind: Kind): void {
    const { windowRows: minRows, falseDiscoveryRate, minPsi } = this.#options.config;
    const { verdict, rows, shifted } = kind.window.test({ minRows, falseDiscoveryRate, minPsi });
    kind.window.clear();
    if (this.stateOf(sourceKind) !== 'active' && kind.reason === 'expired') return;
    if (verdict === 'same') {
      if (!kind.isActive) this.#activate(sourceKind, kind, rows);
      return;
    }
    const names = shifted.map(({ name }) => name).join(', ');
    if (kind.isActive) this.#suspend(sourceKind, kind, 'shifted', rows, shifted);
    else kind.epoch++;
    kind.reason = `shifted: ${names}`;
  }

  #activate(sourceKind: string, kind: Kind, rows: number): void {
    const { note } = this.#options;
    if (note === undefined) {
      kind.reason = 'nobody notes its changes';
      return;
    }
    const { epoch } = kind;
    const change = this.#change(sourceKind, 'activate', 'like the calibration data', rows, []);
    const apply = () => {
      if (kind.epoch !== epoch) return;
      kind.isActive = true;
      kind.reason = change.reason;
    };
    kind.reason = 'its activation is being noted';
    note(change, apply).catch(() => {
      if (kind.epoch === epoch && !kind.isActive) kind.reason = 'its activation could not be noted';
    });
  }

  /** At once, and noted after: to stop is always allowed. */
  #suspend(
    sourceKind: string,
    kind: Kind,
    reason: 'shifted' | 'expired' | 'replaced' | 'revoked',
    rows = 0,
    shifted: readonly ShiftedColumn[] = [],
  ): void {
    kind.isActive = false;
    kind.epoch++;
    kind.reason = reason;
    const change = this.#change(sourceKind, 'suspend', reason, rows, shifted);
    this.#options.note?.(change, () => {}).catch(() => {});
  }

  #change(
    sourceKind: string,
    change: CertificateChange['change'],
    reason: CertificateChange['reason'],
    rows: number,
    shifted: readonly ShiftedColumn[],
  ): CertificateChange {
    const { model, verified } = this.#options;
    const { name, version } = model;
    const { digest: certificate } = verified;
    return { model: { name, version }, change, sourceKind, reason, rows, shifted, certificate };
  }
}

/** Why a certificate can never permit anything here. */
function refusalOf({ verified, decisionThreshold }: CertificateWatchOptions): string | undefined {
  const { origin, decisionThreshold: certified } = verified.certificate;
  if (origin !== 'site') return `it rests on data from ${origin}, which say nothing about this site`;
  if (certified !== decisionThreshold) {
    return `it was made for decisions at ${certified}, and here they are taken at ${decisionThreshold}`;
  }
  return undefined;
}
