import { availableParallelism } from 'node:os';
import type { z } from 'zod';
import type { Clock, Digest, Logger } from '../base/index.ts';
import type { Bus } from '../bus/index.ts';
import type { FeatureBatch } from '../features/index.ts';
import type { CertificateState, OperatingPointName, Score } from '../models/index.ts';
import { VerifiedCertificate, VerifiedModel } from '../registry/index.ts';
import type { Pressure } from './admission/admission.ts';
import { CertificateWatch, type NoteCertificateChange, type WatchedKind } from './certificate-watch.ts';
import { type InferenceConfig, type inferenceConfigSchema, readInferenceConfig } from './config.ts';
import { InferenceError } from './errors.ts';
import type { ExecutionReport } from './executions.ts';
import { type GpuReport, GpuScoring, type GpuScoringOptions } from './gpu/gpu-scoring.ts';
import type { RemoteStats } from './remote/remote-pool.ts';
import type { GraphRuntimeReport } from './runtime/graph-runtime.ts';
import { GraphRuntimes } from './runtime/graph-runtimes.ts';
import type { ScoreColumns } from './score-columns.ts';
import { type FallbackRule, type ScoreOptions, Scorer } from './scorer.ts';
import { ServedModel } from './served-model.ts';
import type { Later } from './service/mirror.ts';
import { ModelService, type NoteModelHealth } from './service/model-service.ts';
import type { NoteRolloutEnd } from './service/rollouts.ts';
import type { InferenceHistograms, InferenceStats } from './stats.ts';

const MIB = 1024 * 1024;

export interface EngineOptions {
  readonly config?: z.input<typeof inferenceConfigSchema>;
  readonly clock: Clock;
  /** Schemas the engine was built for; left out, the schema of each model as it is loaded. */
  readonly schemaIds?: readonly Digest[];
  /** Answers for the strategy `rules`; without one that strategy abstains. */
  readonly rule?: FallbackRule;
  /** Notes when a certificate becomes active or is suspended; without it none ever becomes active. */
  readonly noteCertificate?: NoteCertificateChange;
  /** Told when a model is no longer asked, or is asked again. */
  readonly noteHealth?: NoteModelHealth;
  /** Told of the end of a rollout that nobody asked for. */
  readonly noteRolloutEnd?: NoteRolloutEnd;
  /** Spreads the probes of breakers, in [0, 1); Math.random by default. */
  readonly random?: () => number;
  /** When what is compared is scored; between other work by default. */
  readonly later?: Later;
  /** What the machine can spare, as the monitor says; everything by default. */
  readonly pressure?: () => Pressure;
  /** Code of the threads that score; the engine's own by default. */
  readonly threadEntry?: URL;
  /** Its models are offered to workers, once `joinWorkers` has a bus; not by default. */
  readonly isShared?: boolean;
  /** Told when a GPU is taken into use, is lost, or is not used. */
  readonly noteGpu?: GpuScoringOptions['note'];
  /** Opens the GPU, and finds row thresholds; tests pass their own. */
  readonly gpu?: Pick<GpuScoringOptions, 'open' | 'measure'>;
}

export interface LoadOptions {
  /** The certificate of this very model; none by default. */
  readonly certificate?: VerifiedCertificate | undefined;
  /** Which of its thresholds it decides by, where it has that one; as configured by default. */
  readonly operatingPoint?: OperatingPointName | undefined;
}

/** What is in place under a name. */
export interface LoadedModel {
  readonly name: string;
  readonly version: string;
  readonly digest: Digest;
  readonly schemaId: Digest;
  readonly sourceKinds: readonly string[];
  /** `active` where it is so for any source kind. */
  readonly certificate: CertificateState;
  /** Where it has a certificate: what that is worth for each source kind. */
  readonly certified?: {
    readonly origin: string;
    readonly expiresAt: string;
    readonly kinds: readonly WatchedKind[];
  };
}

/** Scores feature batches, and only with models the registry has verified. */
export class Engine {
  readonly config: InferenceConfig;
  /** Models at hand, their breakers and rollouts. */
  readonly models: ModelService;
  readonly #scorer: Scorer;
  readonly #graphs: GraphRuntimes;
  readonly #gpu: GpuScoring;
  readonly #schemaIds: ReadonlySet<Digest> | undefined;
  readonly #clock: Clock;
  readonly #note: NoteCertificateChange | undefined;

  /** Throws `inference.config-invalid`. */
  constructor(options: EngineOptions) {
    this.config = readInferenceConfig(options.config);
    const { clock, random, later, noteHealth, noteRolloutEnd } = options;
    this.models = new ModelService({
      ...{ config: this.config, clock, random, later, noteHealth, noteRolloutEnd },
      served: () => this.#scorer.served(),
      drained: () => this.#scorer.waves.drained(),
      onClosed: (served) => this.#scorer.scheduler.remove(served),
    });
    const { provider, onnx, gpuMemoryMiB, batchSize } = this.config;
    const asked = onnx.provider === 'auto' ? provider : onnx.provider;
    this.#graphs = new GraphRuntimes({ ...onnx, provider: asked }, batchSize);
    this.#gpu = new GpuScoring({
      ...{ provider, memoryBytes: gpuMemoryMiB * MIB, clock, note: options.noteGpu, ...options.gpu },
      threads: Math.max(1, this.config.workers ?? availableParallelism() - 1),
    });
    const { pressure, threadEntry, isShared } = options;
    this.#scorer = new Scorer(this.config, clock, options.rule, this.models, {
      pressure,
      threadEntry,
      isShared,
    });
    this.#clock = options.clock;
    this.#note = options.noteCertificate;
    this.#schemaIds = options.schemaIds === undefined ? undefined : new Set(options.schemaIds);
  }

  get stats(): InferenceStats {
    return this.#scorer.stats;
  }

  /** What computes the foreign graphs that are at hand. */
  get graphs(): readonly GraphRuntimeReport[] {
    return this.#graphs.reports;
  }

  /** What the GPU computes, and why it does not. */
  get gpu(): GpuReport {
    return this.#gpu.report;
  }

  /** Batches that a version computed since the start, for whichever route. */
  executions(name: string, version: string): ExecutionReport {
    return this.#scorer.executions(name, version);
  }

  /** For the metrics. */
  get histograms(): InferenceHistograms {
    return this.#scorer.histograms;
  }

  /** How workers over a bus score for this engine; undefined where its models are not shared. */
  get remote(): RemoteStats | undefined {
    return this.#scorer.scheduler.remote?.remote;
  }

  /**
   * Offers the models to workers over this bus from now on, and has them score batches where that is configured. The bus is a sealed
   * one: weights go over it. The caller closes it, after the engine.
   */
  joinWorkers(bus: Bus, logger: Logger): void {
    this.#scorer.scheduler.remote?.join(bus, logger);
  }

  /** Starts the threads that score batches, where there are to be any; without it they start once they are of use. */
  start(): Promise<void> {
    return this.#scorer.scheduler.start();
  }

  /** Ends the threads and processes. What they score is lost. */
  async close(): Promise<void> {
    await Promise.all([this.#scorer.scheduler.close(), this.#graphs.close()]);
    this.#gpu.close();
  }

  /**
   * Puts a model in place under its name, after it has proven itself on a warm-up; until then, and when it
   * fails, the one before it answers. Throws `inference.not-verified`, `inference.schema-mismatch`,
   * `inference.warm-up-failed`, `inference.model-memory`.
   */
  async load(verified: VerifiedModel, options: LoadOptions = {}): Promise<void> {
    const served = await this.#serve(verified, options);
    const { previous } = this.#scorer.slotOf(verified.name) ?? {};
    const leaves = previous === this.#scorer.previousBehind(served) ? undefined : previous;
    this.#keep(served, verified, leaves);
    this.#scorer.put(served);
    this.#scorer.scheduler.remote?.offer.place(served);
    this.models.rollouts.championMoved(served);
  }

  /** Makes a version ready beside the one in place, to be asked for by its number or to run beside it. Throws as `load`. */
  async hold(verified: VerifiedModel, options: LoadOptions = {}): Promise<void> {
    const served = await this.#serve(verified, options);
    this.#keep(served, verified);
  }

  /** Takes the model of this name out, with every version of it that is at hand. Whether there was one. */
  unload(name: string): boolean {
    const isThere = this.#scorer.remove(name);
    this.models.drop(name);
    this.#scorer.scheduler.remote?.offer.withdraw(name);
    return isThere;
  }

  /** Lets go of a version that is at hand and not in place; nothing falls back to it any longer. Whether it was at hand. */
  release(name: string, version: string): boolean {
    if (this.#scorer.slotOf(name)?.current.info.version === version) return false;
    this.#scorer.forgetPrevious(name, version);
    return this.models.dropVersion(name, version);
  }

  #keep(served: ServedModel, verified: VerifiedModel, leaves?: ServedModel): void {
    try {
      this.models.keep(served, verified, leaves);
    } catch (error) {
      this.#scorer.scheduler.remove(served);
      void served.runtime.close?.();
      throw error;
    }
  }

  async #serve(verified: VerifiedModel, options: LoadOptions): Promise<ServedModel> {
    // The type is erased at run time; the private field is not.
    if (!VerifiedModel.isVerified(verified)) {
      throw new InferenceError('inference.not-verified', 'expected a model that the registry verified');
    }
    if (this.#schemaIds?.has(verified.schemaId) === false) {
      throw new InferenceError(
        'inference.schema-mismatch',
        `${verified.name}@${verified.version} needs schema ${verified.schemaId}, for which this engine was not built`,
      );
    }
    const { certificate } = options;
    const isItsOwn =
      certificate === undefined ||
      (VerifiedCertificate.isVerified(certificate) &&
        certificate.certificate.modelDigest === verified.digest);
    if (!isItsOwn) {
      throw new InferenceError(
        'inference.not-verified',
        'expected a verified certificate of this very model',
      );
    }
    const { batchSize } = this.config;
    const { operatingPoint = this.config.operatingPoint } = options;
    const { name, version, digest, schemaId, sourceKinds, model } = verified;
    const runtime = await this.#graphs.open(model);
    try {
      const toServe = { name, version, digest, schemaId, sourceKinds, model, runtime };
      const served = new ServedModel(toServe, batchSize, operatingPoint);
      if (certificate !== undefined) served.watchCertificate(this.#watch(served, certificate));
      this.models.guard(served);
      await served.warmUp(this.#clock);
      served.device = await this.#gpu.add(`${name}@${version}`, served.model, served.cuts(this.config));
      await this.#scorer.scheduler.add(served, verified);
      return served;
    } catch (error) {
      await runtime?.close();
      throw error;
    }
  }

  /** Versions of a name that decide: the one in place, and one that runs beside it. */
  versionsInService(name: string): readonly string[] {
    const candidate = this.models.rollouts.get(name)?.candidate;
    return [this.#scorer.slotOf(name)?.current, candidate].flatMap((served) => served?.info.version ?? []);
  }

  /** Ends the certificates in service that this key signed, at once and for good. */
  withdrawCertificates(signedBy: string): void {
    for (const { watch } of this.#scorer.served()) if (watch?.signedBy === signedBy) watch.withdraw();
  }

  /** Names under which a model is in place, sorted. */
  names(): readonly string[] {
    return this.#scorer.names();
  }

  /** The model in place under the name; without a name, the only one there is. */
  current(name?: string): LoadedModel | undefined {
    const served = this.#scorer.current(name);
    if (served === undefined) return undefined;
    const { info, schemaId, sourceKinds, watch } = served;
    const loaded = { ...info, schemaId, sourceKinds: [...sourceKinds] };
    if (watch === undefined) return { ...loaded, certificate: 'absent' };
    const { kinds, origin, expiresAt } = watch;
    const best = (['active', 'suspended'] as const).find((state) =>
      kinds.some((kind) => kind.state === state),
    );
    return { ...loaded, certificate: best ?? 'refused', certified: { origin, expiresAt, kinds } };
  }

  /** The first source kind of the model in place: what vectors without one are taken for; empty where there is none. */
  sourceKind(name: string): string {
    for (const kind of this.#scorer.current(name)?.sourceKinds ?? []) return kind;
    return '';
  }

  /**
   * One score a row, in order; the whole batch by one model. The values are the caller's and are only read.
   * Throws `inference.no-model`, `inference.schema-mismatch`, `inference.bad-batch`, `inference.overloaded`,
   * `inference.cancelled`, and under the strategy `reject` `inference.timeout` and `inference.model-failed`.
   */
  score(batch: FeatureBatch, options?: ScoreOptions): Promise<readonly Score[]> {
    return this.#scorer.score(batch, options);
  }

  /**
   * As `score`, in columns and without explanations: for callers that send many rows. The arrays are the caller's. Throws
   * the same.
   */
  scoreColumns(batch: FeatureBatch, options?: ScoreOptions): Promise<ScoreColumns> {
    return this.#scorer.scoreColumns(batch, options);
  }

  #watch(served: ServedModel, verified: VerifiedCertificate): CertificateWatch {
    return new CertificateWatch({
      verified,
      model: served.info,
      decisionThreshold: served.threshold,
      config: this.config.certificate,
      clock: this.#clock,
      note: this.#note,
    });
  }
}
