import { join } from 'node:path';
import {
  type Detection,
  type DetectionStore,
  type NoticeDelivery,
  PRODUCT,
  type Triage,
} from '../alerts/index.ts';
import { type AuditLog, type CheckpointPublisher, type Denial, DenialCollapser } from '../audit/index.ts';
import {
  type Clock,
  type ConfigOrigin,
  GuardianError,
  JUMP_MS,
  type Logger,
  Metrics,
  type Milliseconds,
  OtlpExporter,
  SteadyTime,
  silentLogger,
  systemClock,
} from '../base/index.ts';
import type { Bus } from '../bus/index.ts';
import type { Configuration } from '../configuration.ts';
import type { KeyStore, UnlockSecret } from '../crypto/index.ts';
import {
  encodeEventInto,
  type FeatureBatch,
  type IndicatorLookup,
  type LoadedSchema,
} from '../features/index.ts';
import type { Engine, ScoreColumns, ScoreOptions } from '../inference/index.ts';
import type { Score } from '../models/index.ts';
import type { Monitor } from '../monitor/index.ts';
import {
  type Actor,
  type AliasChange,
  type CertificationTerms,
  type CertifiedVersion,
  type Registry,
  UpdateService,
  type VerifiedModel,
} from '../registry/index.ts';
import type { Guardrails } from '../response/index.ts';
import type { BlobStore, Database, StateOwner } from '../storage/index.ts';
import type { FlowBatch } from '../traffic/index.ts';
import { AliasWatch, LOOK_EVERY_MS } from './alias-watch.ts';
import type { CertificateNotes } from './certificate-notes.ts';
import { observeCondition } from './condition-metrics.ts';
import { type DependencyHealth, dependencyHealth, observeDependencies } from './dependency-health.ts';
import { FeatureKnowledge, type HostReport } from './feature-knowledge.ts';
import { observeGpu } from './gpu-notes.ts';
import { observeInference } from './inference-metrics.ts';
import { type IngestOptions, type IngestResult, LiveRoute } from './live-route.ts';
import type { ModelNotes } from './model-notes.ts';
import { ModelRollouts } from './model-rollouts.ts';
import { ModelShelf } from './model-shelf.ts';
import { EventQueue, type EventState, type SubmittedFlows } from './queue/event-queue.ts';
import { ScoreDrift } from './score-drift.ts';
import { SecureIdentities } from './secure-identities.ts';
import { SharedModels } from './shared-models.ts';
import { followThrottle } from './throttled-models.ts';
import { TrainingKeys } from './training-keys.ts';
import { TrainingRuns } from './training-runs.ts';

export interface GuardianOptions {
  readonly stateFolder: string;
  /** Where the unlock secret lies, apart from the state. */
  readonly configFolder: string;
  readonly config: Configuration;
  readonly origins?: ReadonlyMap<string, ConfigOrigin>;
  readonly clock?: Clock;
  readonly logger?: Logger;
  /** Opens the key store; the unlock file of the configuration folder by default. */
  readonly secret?: UnlockSecret;
  /** Threat intelligence about hosts; nothing is asked where there is none. */
  readonly indicators?: IndicatorLookup;
}

/** Between two tries to store detections that the database did not take. */
const SAVE_EVERY_MS: Milliseconds = 1_000;
const SWEEP_EVERY_MS: Milliseconds = 3_600_000;

/** What `openGuardian` has opened, in the hands of the guardian that closes it. */
export interface GuardianParts {
  readonly owner: StateOwner;
  readonly auditFolder: string;
  readonly keys: KeyStore;
  readonly log: AuditLog;
  readonly publisher: CheckpointPublisher;
  readonly database: Database;
  readonly blobs: BlobStore;
  readonly registry: Registry;
  readonly engine: Engine;
  readonly detections: DetectionStore;
  /** Started by who watches or serves. */
  readonly notices: NoticeDelivery;
  readonly triage: Triage;
  readonly guardrails: Guardrails;
  readonly monitor: Monitor;
  readonly certificates: CertificateNotes;
  readonly modelNotes: ModelNotes;
}

/** One guardian: its parts, the route of data and the route of models. Owns its state until it is closed. */
export class Guardian {
  readonly config: Configuration;
  readonly origins: ReadonlyMap<string, ConfigOrigin>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics = new Metrics();
  readonly stateFolder: string;
  /** Where the log's files are; with PostgreSQL each taking of the writer's lease gives it a new name. */
  readonly auditFolder: string;
  readonly keys: KeyStore;
  readonly log: AuditLog;
  readonly database: Database;
  readonly blobs: BlobStore;
  readonly registry: Registry;
  readonly engine: Engine;
  readonly detections: DetectionStore;
  /** Started by who watches or serves. */
  readonly notices: NoticeDelivery;
  readonly triage: Triage;
  readonly guardrails: Guardrails;
  readonly monitor: Monitor;
  readonly updates: UpdateService;
  readonly trainingKeys: TrainingKeys;
  readonly identities: SecureIdentities;
  readonly trainings: TrainingRuns;
  /** Events that wait on the bus for workers. */
  readonly queue: EventQueue;
  readonly #owner: StateOwner;
  readonly #publisher: CheckpointPublisher;
  readonly #denials: DenialCollapser;
  readonly #sweeper: NodeJS.Timeout;
  readonly #saver: NodeJS.Timeout;
  readonly #steady: SteadyTime;
  readonly #models: ModelShelf;
  readonly #route: LiveRoute;
  readonly #knowledge: FeatureKnowledge;
  readonly #certificates: CertificateNotes;
  readonly #modelNotes: ModelNotes;
  readonly #drift: ScoreDrift;
  readonly #aliases: AliasWatch;
  readonly #shared: SharedModels;
  readonly #exporter: OtlpExporter | undefined;
  /** Versions that run beside a champion. */
  readonly rollouts: ModelRollouts;

  /** Made by `openGuardian`. */
  constructor(options: GuardianOptions, parts: GuardianParts) {
    this.config = options.config;
    this.origins = options.origins ?? new Map();
    this.clock = options.clock ?? systemClock;
    this.logger = options.logger ?? silentLogger;
    this.stateFolder = options.stateFolder;
    this.auditFolder = parts.auditFolder;
    this.keys = parts.keys;
    this.log = parts.log;
    this.database = parts.database;
    this.blobs = parts.blobs;
    this.registry = parts.registry;
    this.engine = parts.engine;
    this.detections = parts.detections;
    this.notices = parts.notices;
    this.triage = parts.triage;
    this.guardrails = parts.guardrails;
    this.monitor = parts.monitor;
    const { registry, keys, log, clock } = this;
    this.updates = new UpdateService({
      registry,
      keys,
      log,
      clock,
      folder: join(this.stateFolder, 'updates'),
    });
    this.trainingKeys = new TrainingKeys({ keys, log, database: this.database });
    this.identities = new SecureIdentities({ keys, log });
    this.trainings = new TrainingRuns(clock);
    const { metrics, logger, monitor } = this;
    const { indicators } = options;
    const knowledge = new FeatureKnowledge({
      ...{ config: this.config.features, clock, logger, metrics, monitor, indicators },
    });
    this.#knowledge = knowledge;
    this.#models = new ModelShelf({
      ...{ registry, engine: this.engine, expected: this.config.model, logger },
      onSchemaChange: (model) => this.#route.forgetModel(model),
      onLoad: (model, schema) => {
        knowledge.noteModel(model, schema);
        this.#modelNotes.loaded(model.name, model.version);
      },
    });
    const { engine, guardrails, detections } = this;
    this.#drift = new ScoreDrift(log, logger, metrics);
    const drift = this.#drift;
    this.#route = new LiveRoute({
      drift,
      ...{ engine, guardrails, detections, metrics, clock, knowledge },
      latencyTargetMs: this.config.features.latencyTargetMs,
      modelName: this.modelName,
      schemaOf: (model) => this.#models.schema(model),
    });
    this.queue = new EventQueue({
      ...{ detections, guardrails, clock, logger, metrics, database: this.database },
      config: this.config.queue,
    });
    this.#certificates = parts.certificates;
    this.#certificates.observe(metrics);
    this.#modelNotes = parts.modelNotes;
    this.#modelNotes.observe(metrics, engine);
    this.notices.observe(metrics);
    observeInference(metrics, engine, () => this.modelName);
    this.#shared = new SharedModels(engine, logger, metrics);
    observeGpu(metrics, engine);
    observeCondition(metrics, { ...parts, monitor });
    this.rollouts = new ModelRollouts({
      ...{ registry, engine, log, logger, configured: this.config.inference.rollouts },
      hold: (verified) => this.#models.hold(verified),
    });
    this.#aliases = new AliasWatch({
      followed: () => this.#models.followed(),
      follow: (name) => this.#models.follow(name),
      logger,
      // Also where nobody else can move one: a move of its own may have been done and not been loaded.
      everyMs: LOOK_EVERY_MS,
    });
    followThrottle(monitor, engine);
    this.#owner = parts.owner;
    this.#publisher = parts.publisher;
    this.#steady = new SteadyTime(this.clock);
    this.#sweeper = setInterval(() => this.#sweep(), SWEEP_EVERY_MS).unref();
    this.#saver = setInterval(() => this.#saveAgain(), SAVE_EVERY_MS).unref();
    observeDependencies(metrics, this);
    this.#denials = new DenialCollapser({ log: parts.log, clock: this.clock });
    const { url, ...otlp } = this.config.metrics.otlp;
    this.#exporter =
      url === null
        ? undefined
        : new OtlpExporter({
            ...{ config: { ...otlp, url }, metrics, clock, logger, version: PRODUCT.version },
          });
  }

  /** Verifies the model a reference names and puts it in place. Throws `registry.*`, `inference.*`. */
  load(reference: string): Promise<VerifiedModel> {
    return this.#models.load(reference);
  }

  /** Takes a model out of service; what it scores already is scored to the end. Whether there was one. */
  unload(name: string): Promise<boolean> {
    this.#route.forgetModel(name);
    return this.#models.unload(name);
  }

  /** Whether a model was taken out of service, and none was loaded in its place since. */
  isUnloaded(name: string): boolean {
    return this.#models.isUnloaded(name);
  }

  /** Moves an alias; where that is the champion, the model serves when this resolves. */
  async promote(name: string, version: string, alias: string, by: Actor): Promise<AliasChange> {
    let verified: VerifiedModel | undefined;
    const accept = (model: VerifiedModel) => {
      if (alias === 'champion') this.#models.accept(model);
      verified = model;
    };
    const change = await this.registry.promote(name, version, alias, by, accept);
    if (alias === 'champion') await this.#models.reload(name, version, verified);
    void this.#aliases.announce(change);
    return change;
  }

  /** Takes an alias back to the approved version before. */
  async rollback(name: string, alias: string, by: Actor): Promise<AliasChange> {
    const accept = alias === 'champion' ? this.#models.accept : undefined;
    const change = await this.registry.rollback(name, alias, by, this.#models.resident, accept);
    if (alias === 'champion') await this.#models.reload(name, change.version);
    void this.#aliases.announce(change);
    return change;
  }

  /**
   * Tells other engines of moves from now on, and hears of theirs; takes events into the queue, and their results; shares models
   * with workers. Each has a connection of its own, closed with the guardian. Throws `bus.address-refused`.
   */
  async joinBus(open: () => Promise<Bus>): Promise<void> {
    await this.#aliases.join(open);
    await this.queue.join(open);
    await this.#shared.join(open);
  }

  /** Certifies a version on its gate data; where it serves, with its certificate from now on, suspended at first. */
  async certify(
    name: string,
    version: string,
    terms: CertificationTerms,
    by: Actor,
  ): Promise<CertifiedVersion> {
    const certified = await this.registry.certify(name, version, terms, by);
    if (this.engine.current(name)?.version === version) await this.load(`${name}@${version}`);
    return certified;
  }

  /** The alias that what serves under a name is kept in step with; undefined where it was loaded by its version. */
  aliasOf(name: string): string | undefined {
    return this.#models.aliasOf(name);
  }

  /** The schema of the model loaded under a name. */
  schemaOf(model: string): LoadedSchema | undefined {
    return this.#models.find(model);
  }

  /** The route of data: extractor, engine, policy and guard rails, alerts. The batch is only read. */
  ingestFlows(flows: FlowBatch, options?: IngestOptions): Promise<IngestResult> {
    return this.#route.ingest(flows, options);
  }

  /** What the guardian stands on and cannot use for now. */
  get dependencies(): DependencyHealth {
    return dependencyHealth(this);
  }

  /** Flows for whichever worker has their stream: resolves when the bus holds them. The batch is only read. Throws as `EventQueue.submit`. */
  async queueFlows(flows: FlowBatch, options: SubmittedFlows): Promise<EventState> {
    const event = await this.queue.submit(flows, options);
    if (event.state === 'waiting') await this.#knowledge.add(flows);
    return event;
  }

  /** What is known of a host now. */
  host(address: string): HostReport {
    return this.#knowledge.host(address);
  }

  /** Closes the findings of a source that has ended, and forgets its windows. */
  endRoute(route: string): Promise<readonly Detection[]> {
    return this.#route.end(route);
  }

  /** Scores events given as named features. Throws `features.*` for an event that does not fit the schema. */
  async scoreEvents(
    model: string,
    events: readonly Readonly<Record<string, unknown>>[],
  ): Promise<readonly Score[]> {
    const loaded = this.#models.schema(model);
    const width = loaded.schema.columns.length;
    const values = new Float32Array(events.length * width);
    for (const [i, event] of events.entries()) {
      encodeEventInto(loaded, event, values, { offset: i * width, names: this.#knowledge.names });
    }
    return this.scoreVectors(model, values, events.length);
  }

  /** Scores feature vectors: row-major rows x columns, owned by the caller, only read. */
  scoreVectors(model: string, values: Float32Array, rows: number): Promise<readonly Score[]> {
    return this.engine.score(this.#vectors(model, values, rows), { model });
  }

  /** As `scoreVectors`, in columns and without explanations: no object a row. For protocols that carry many rows. */
  scoreVectorColumns(
    model: string,
    values: Float32Array,
    rows: number,
    options: Omit<ScoreOptions, 'model'> = {},
  ): Promise<ScoreColumns> {
    return this.engine.scoreColumns(this.#vectors(model, values, rows), { ...options, model });
  }

  /** Registry name of the configured model. */
  get modelName(): string {
    return this.#models.modelName;
  }

  /** Notes a refusal in the log; equal ones of a second become one entry with a count. */
  denied(denial: Denial): void {
    this.#denials.deny(denial);
  }

  async close(): Promise<void> {
    clearInterval(this.#sweeper);
    clearInterval(this.#saver);
    this.monitor.stop();
    this.detections.close();
    const steps = [
      async () => this.#exporter?.close(),
      () => this.queue.close(),
      () => this.engine.close(),
      () => this.#shared.close(),
      () => this.notices.close(),
      () => this.#knowledge.close(),
      () => this.#denials.close(),
      () => this.#aliases.close(),
      () => this.#certificates.settled(),
      () => this.#modelNotes.settled(),
      () => this.#drift.settled(),
      () => this.log.close(),
      () => this.#publisher.settled(),
      () => this.database.close(),
      () => this.keys.close(),
      () => this.#owner.release(),
    ];
    // What cannot be closed must not keep keys in memory or the state locked; the first fault is the one that is told.
    const faults: unknown[] = [];
    for (const step of steps) await step().catch((error: unknown) => faults.push(error));
    if (faults.length > 0) throw faults[0];
  }

  #vectors(model: string, values: Float32Array, rows: number): FeatureBatch {
    const { schema, id } = this.#models.schema(model);
    const sourceKind = this.engine.sourceKind(model);
    return { schemaId: id, sourceKind, rows, columns: schema.columns.length, values, rejected: [] };
  }

  /** What came while the database was away is stored once it is back, whether more comes or not. */
  #saveAgain(): void {
    if (this.detections.stats.unsaved === 0) return;
    // Told by the status and the metrics, and tried again.
    this.detections.flush().catch(() => {});
  }

  /** No copy of a key wrap outlives its time in escrow, however long the process runs. */
  #sweep(): void {
    if (this.#steady.aheadMs > JUMP_MS) {
      this.logger.error(
        { aheadMs: this.#steady.aheadMs },
        'the clock has jumped ahead, or the machine slept: nothing is removed from escrow before a restart',
      );
      return;
    }
    this.registry.custody.sweepEscrow({ principal: 'system' }).catch((error: unknown) => {
      const code = error instanceof GuardianError ? error.code : 'unknown';
      this.logger.error({ code }, 'expired key wraps could not be removed from escrow');
    });
  }
}
