import type { Actor, RegistryContext } from './context.ts';
import type { Hold } from './custody-index.ts';
import { type EraseStatus, eraseStatus, eraseVersion, type Serving } from './erase.ts';
import { type EscrowRun, escrowWraps, restoreWraps, sweepEscrow } from './escrow.ts';
import { activeHolds, placeHold, releaseHold } from './holds.ts';
import { type Lineage, lineageOf } from './lineage.ts';
import { machineLearningBom } from './ml-bom.ts';
import { modelCard } from './model-card.ts';
import { type PruneOptions, type PruneResult, pruneModel } from './prune.ts';
import { readRecord } from './records.ts';
import { setTags } from './tags.ts';

/** Runs changes one at a time. */
export type Exclusive = <T>(work: () => Promise<T>) => Promise<T>;

/** Whether the weights of a version can be had. */
export type VersionState = 'live' | 'pruned' | 'erased';

/** A version as its keepers see it. */
export interface CustodyState {
  readonly state: VersionState;
  readonly tags: Readonly<Record<string, string>>;
  /** In force now. */
  readonly holds: readonly Hold[];
}

/**
 * What becomes of versions after their publication: tags, holds, lineage, documents, retention and erase. Part of a
 * `Registry`. Every change is audited; tags, holds and removals live in the audit log alone.
 */
export class Custody {
  readonly #context: RegistryContext;
  readonly #exclusive: Exclusive;
  readonly #serving: Serving;

  constructor(context: RegistryContext, exclusive: Exclusive) {
    this.#context = context;
    this.#exclusive = exclusive;
    this.#serving = context.serving ?? (() => []);
  }

  stateOf(name: string, version: string): CustodyState {
    const { custody } = this.#context.index;
    const removal = custody.removal(name, version);
    return {
      state: removal === undefined ? 'live' : removal.action === 'erase' ? 'erased' : 'pruned',
      tags: custody.tags(name, version),
      holds: activeHolds(this.#context, name, version),
    };
  }

  /** Sets tags, or removes those whose value is null. Resolves to every tag of the version. */
  tag(
    name: string,
    version: string,
    tags: Readonly<Record<string, string | null>>,
    by: Actor,
  ): Promise<Readonly<Record<string, string>>> {
    return this.#exclusive(() => setTags(this.#context, { name, version }, tags, by));
  }

  hold(
    name: string,
    version: string,
    hold: { readonly reason: string; readonly until?: string },
    by: Actor,
  ): Promise<Hold> {
    return this.#exclusive(() => placeHold(this.#context, { name, version }, hold, by));
  }

  release(
    name: string,
    version: string,
    release: { readonly hold: number; readonly reason: string },
    by: Actor,
  ): Promise<void> {
    return this.#exclusive(() => releaseHold(this.#context, { name, version }, release, by));
  }

  lineage(name: string, version: string): Promise<Lineage> {
    return lineageOf(this.#context, name, version);
  }

  /** A CycloneDX 1.6 document. */
  async bom(name: string, version: string): Promise<Readonly<Record<string, unknown>>> {
    const record = await readRecord(this.#context, name, version);
    return machineLearningBom(record, await this.lineage(name, version));
  }

  /** Markdown. */
  async card(name: string, version: string): Promise<string> {
    const record = await readRecord(this.#context, name, version);
    return modelCard(record, await this.lineage(name, version));
  }

  prune(
    name: string,
    options: Omit<PruneOptions, 'serving'> & { readonly serving?: Serving },
    by: Actor,
  ): Promise<PruneResult> {
    return this.#exclusive(() => pruneModel(this.#context, name, { serving: this.#serving, ...options }, by));
  }

  /** Prunes by the configured rules where they say to do so by themselves. To be called while no other change runs. */
  async tidy(name: string): Promise<void> {
    if (!this.#context.retention.automatic) return;
    await pruneModel(this.#context, name, { serving: this.#serving }, { principal: 'system' });
  }

  erase(
    name: string,
    version: string,
    erase: { readonly reason: string; readonly serving?: Serving },
    by: Actor,
  ): Promise<EraseStatus> {
    return this.#exclusive(() =>
      eraseVersion(this.#context, { name, version, serving: this.#serving, ...erase }, by),
    );
  }

  /** Sweeps the escrow first; the first answer `complete` is noted in the log. */
  eraseStatus(name: string, version: string, by: Actor): Promise<EraseStatus> {
    return this.#exclusive(() => eraseStatus(this.#context, name, version, by));
  }

  escrow(by: Actor): Promise<EscrowRun> {
    return this.#exclusive(() => escrowWraps(this.#context, by));
  }

  restoreEscrow(by: Actor): Promise<readonly string[]> {
    return this.#exclusive(() => restoreWraps(this.#context, by));
  }

  /** Deletes expired copies; resolves to their number. */
  sweepEscrow(by: Actor): Promise<number> {
    return this.#exclusive(() => sweepEscrow(this.#context, by));
  }
}
