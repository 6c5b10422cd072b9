import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Detection, DetectionStore } from './alerts/index.ts';
import {
  type AuditLog,
  auditCoverage,
  auditedKeyStore,
  CheckpointPublisher,
  type Denial,
  DenialCollapser,
  fencedAuditLog,
  openAuditLog,
  recordConfiguration,
} from './audit/index.ts';
import {
  type Clock,
  type ConfigOrigin,
  GuardianError,
  type Logger,
  Metrics,
  type Milliseconds,
  silentLogger,
  systemClock,
} from './base/index.ts';
import type { Configuration } from './configuration.ts';
import { type KeyStore, openKeyStore, type UnlockSecret } from './crypto/index.ts';
import {
  encodeEventInto,
  type FeatureBatch,
  FlowExtractor,
  type LoadedSchema,
  parseSchema,
} from './features/index.ts';
import { Engine, InferenceError } from './inference/index.ts';
import type { Score } from './models/index.ts';
import { Monitor } from './monitor/index.ts';
import {
  type Actor,
  type AliasChange,
  isKeyStoreAway,
  openRegistry,
  type Registry,
  type RegistryPolicy,
  type Resident,
  UpdateService,
  type VerifiedModel,
} from './registry/index.ts';
import {
  createPolicy,
  type Decision,
  Guardrails,
  isSourceProven,
  readMachineAddresses,
} from './response/index.ts';
import {
  type BlobStore,
  claimLogFolder,
  claimState,
  type Database,
  fencedBlobs,
  type LeasedDatabase,
  openConfiguredBlobs,
  openDatabase,
  openDirectoryBlobStore,
  openPostgresDatabase,
  type StateLayout,
  type StateOwner,
  stateLayout,
} from './storage/index.ts';
import type { FlowRecord } from './traffic/index.ts';
import { createGateEvaluator } from './training/index.ts';

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
}

/** One flow at the end of the route of data. */
export interface FlowOutcome {
  readonly flow: FlowRecord;
  readonly score: Score;
  readonly decision: Decision;
}

export interface IngestOptions {
  /** Names the stream the flows belong to: each has its own windows. */
  readonly route?: string;
  /** Registry name of the model; the configured one by default. */
  readonly model?: string;
  /** Whether to hand back every flow with its score and decision. */
  readonly outcomes?: boolean;
}

export interface IngestResult {
  readonly flows: number;
  readonly verdicts: Readonly<Record<Score['verdict'], number>>;
  readonly decisions: Readonly<Record<Decision['verdict'], number>>;
  /** Findings raised or changed by these flows. */
  readonly detections: readonly Detection[];
  readonly outcomes?: readonly FlowOutcome[];
}

/** Streams with windows of their own; the one unused longest is forgotten for a new one. */
const MAX_ROUTES = 64;
const DEFAULT_ROUTE = 'events';
const SWEEP_EVERY_MS: Milliseconds = 3_600_000;
/** Verified models kept in memory by name: the one that serves and the one before. */
const RESIDENT_MODELS = 2;

interface Parts {
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
  readonly guardrails: Guardrails;
  readonly monitor: Monitor;
}

/**
 * The parts of one guardian, joined. It owns its state folder until it is closed. Throws what the parts throw;
 * `storage.state-owned` where another process owns the folder.
 */
export async function openGuardian(options: GuardianOptions): Promise<Guardian> {
  const { config, stateFolder } = options;
  const clock = options.clock ?? systemClock;
  const layout = stateLayout(stateFolder, config.storage.sharedFolder ?? stateFolder);
  const owner = await claimState(stateFolder);
  const opened: { close(): Promise<void> }[] = [{ close: () => owner.release() }];
  let publisher: CheckpointPublisher | undefined;
  try {
    // Before anything that servers share is touched: who has the lease is the only one who writes.
    const leased = await openLeased(options, layout);
    if (leased !== undefined) opened.push(leased);
    const auditFolder =
      leased === undefined ? layout.audit : await claimLogFolder(layout.audit, leased.lease.token);
    const store = await openKeys(options, layout, auditFolder, clock);
    opened.push(store);
    await mkdir(auditFolder, { recursive: true, mode: 0o700 });
    const { checkpointEntries, checkpointDelayMs } = config.audit;
    const opening = await openAuditLog({
      ...{ folder: auditFolder, keys: store, clock },
      policy: { entries: checkpointEntries, delayMs: checkpointDelayMs },
      onCheckpoint: (checkpoint) => publisher?.publish(checkpoint),
    });
    const log = leased === undefined ? opening : fencedAuditLog(opening, leased.lease);
    opened.push(log);
    const onError = (error: unknown) => {
      const code = error instanceof GuardianError ? error.code : 'unknown';
      options.logger?.error({ code, reason: String(error) }, 'a checkpoint could not be published');
    };
    const publicKeysPem = async () =>
      (await store.list()).flatMap(({ purpose, publicKeyPem }) =>
        purpose === 'log-signing' ? (publicKeyPem ?? []) : [],
      );
    publisher = new CheckpointPublisher({
      ...{ log, folder: auditFolder, config: config.audit, publicKeysPem, onError },
    });
    await publisher.start();
    const keys = auditedKeyStore(store, log);
    const database = leased ?? (await openDatabase(layout.database));
    if (leased === undefined) opened.push(database);
    await recordConfiguration(log, config, database.settings);
    const stored = await openConfiguredBlobs({
      blobs: config.storage.blobs,
      folder: layout.blobs,
      keyFile: config.storage.zfsKeyFile ?? join(options.configFolder, 'zfs.key'),
    });
    const blobs = leased === undefined ? stored : fencedBlobs(stored, leased.lease);
    const { escrowFolder } = config.registry.retention;
    // A folder of its own: what stands beside it in a folder that somebody named is not ours to tidy.
    const escrow = await openDirectoryBlobStore(join(escrowFolder ?? dirname(layout.audit), 'escrow'));
    const registry = await openRegistry({
      ...{ keys, log, blobs, db: database, clock },
      policy: registryPolicy(config),
      retention: config.registry.retention,
      escrow,
      serving: (name) => engine.current(name)?.version,
      evaluator: createGateEvaluator({ gates: config.gates, meter: config.meter, clock }),
    });
    const engine = new Engine({ config: config.inference, clock });
    const detections = new DetectionStore({ queries: database.detections, clock, config: config.alerts });
    const policy = createPolicy(config.response, { protectedSet: readMachineAddresses() });
    const monitor = new Monitor({ config: config.monitor, clock, diskPath: stateFolder });
    monitor.start();
    const parts = { owner, keys, log, publisher, database, blobs, registry, engine, detections, monitor };
    return new Guardian(options, { ...parts, auditFolder, guardrails: new Guardrails(policy) });
  } catch (error) {
    // Closed in reverse, and the first fault is the one that is told.
    for (const part of opened.reverse()) await part.close().catch(() => {});
    throw error;
  }
}

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
  readonly guardrails: Guardrails;
  readonly monitor: Monitor;
  readonly updates: UpdateService;
  readonly #owner: StateOwner;
  readonly #publisher: CheckpointPublisher;
  readonly #denials: DenialCollapser;
  readonly #sweeper: NodeJS.Timeout;
  readonly #schemas = new Map<string, LoadedSchema>();
  readonly #routes = new Map<string, FlowExtractor>();
  /** The models loaded last, newest first: the way back while the key store is away. */
  readonly #residents = new Map<string, readonly VerifiedModel[]>();
  #lastLoad: Promise<unknown> = Promise.resolve();
  readonly #flows = this.metrics.counter('flows_total', 'Flows that were scored, by verdict.', ['verdict']);
  readonly #decisions = this.metrics.counter('decisions_total', 'Decisions, by verdict.', ['verdict']);
  readonly #findings = this.metrics.counter('findings_total', 'States of findings, by activity.', [
    'activity',
  ]);
  readonly #scoring = this.metrics.histogram('scoring_seconds', 'Features to decision, a batch.');

  /** Made by `openGuardian`. */
  constructor(options: GuardianOptions, parts: Parts) {
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
    this.#owner = parts.owner;
    this.#publisher = parts.publisher;
    this.#sweeper = setInterval(() => this.#sweep(), SWEEP_EVERY_MS).unref();
    this.#denials = new DenialCollapser({ log: parts.log, clock: this.clock });
    this.metrics.gauge('audit_entries', 'Entries of the audit log.', () => this.log.size);
    this.metrics.gauge(
      'audit_coverage',
      'Audited actions over all auditable actions, 0 to 1.',
      () => auditCoverage().share,
    );
    this.metrics.gauge(
      'audit_witnessed_size',
      'Entries under the last checkpoint that has the cosignatures wanted.',
      () => this.#publisher.stats.witnessedSize,
    );
    this.metrics.gauge(
      'audit_publish_failures',
      'Copies and cosignatures of checkpoints that failed since the start.',
      () => this.#publisher.stats.failures,
    );
    this.metrics.gauge(
      'open_findings',
      'Findings that still grow.',
      () => this.detections.stats.openFindings,
    );
    this.metrics.gauge('resident_bytes', 'Resident memory of this process.', () => process.memoryUsage.rss());
  }

  /** Verifies the model a reference names and puts it in place. Throws `registry.*`, `inference.*`. */
  load(reference: string): Promise<VerifiedModel> {
    return this.#inLine(() => this.#load(reference));
  }

  /** Moves an alias; where that is the champion, the model serves when this resolves. */
  async promote(name: string, version: string, alias: string, by: Actor): Promise<AliasChange> {
    const change = await this.registry.promote(name, version, alias, by);
    if (alias === 'champion') await this.load(`${name}@champion`);
    return change;
  }

  /** Takes an alias back to the approved version before. */
  async rollback(name: string, alias: string, by: Actor): Promise<AliasChange> {
    const resident: Resident = (model, version) =>
      this.#residents.get(model)?.find((held) => held.version === version);
    const change = await this.registry.rollback(name, alias, by, resident);
    if (alias === 'champion') {
      await this.#inLine(() =>
        this.#load(`${name}@champion`).catch((error: unknown) => {
          const held = isKeyStoreAway(error) ? resident(name, change.version) : undefined;
          if (held === undefined) throw error;
          return this.#put(held);
        }),
      );
    }
    return change;
  }

  /** The schema of the model loaded under a name. */
  schemaOf(model: string): LoadedSchema | undefined {
    return this.#schemas.get(model);
  }

  /** The route of data: extractor, engine, policy and guard rails, alerts. Flows are of one source kind. */
  async ingestFlows(flows: readonly FlowRecord[], options: IngestOptions = {}): Promise<IngestResult> {
    const { model = this.modelName, route = DEFAULT_ROUTE } = options;
    const started = this.clock.monotonic();
    const batch = this.#extractor(route, model).extract(flows);
    const scores = await this.engine.score(batch, { model });
    const outcomes = flows.map((flow, i): FlowOutcome => {
      const score = scores[i] as Score;
      const decision = this.guardrails.judge({
        score,
        source: flow.sourceAddress,
        sourceProven: isSourceProven(flow),
        nowMs: flow.endMs,
      });
      return { flow, score, decision };
    });
    this.#scoring.observe({}, (this.clock.monotonic() - started) / 1000);
    const detections = [
      ...(await this.detections.record(outcomes, route)),
      ...(await this.detections.advance(lastEnd(flows), route)),
    ];
    return this.#count(outcomes, detections, options.outcomes === true);
  }

  /** Closes the findings of a source that has ended, and forgets its windows. */
  async endRoute(route: string): Promise<readonly Detection[]> {
    for (const key of this.#routes.keys()) if (key.startsWith(`${route}\n`)) this.#routes.delete(key);
    return this.detections.finish(route);
  }

  /** Scores events given as named features. Throws `features.*` for an event that does not fit the schema. */
  async scoreEvents(
    model: string,
    events: readonly Readonly<Record<string, unknown>>[],
  ): Promise<readonly Score[]> {
    const loaded = this.#schema(model);
    const width = loaded.schema.columns.length;
    const values = new Float32Array(events.length * width);
    for (const [i, event] of events.entries()) {
      encodeEventInto(loaded, event, values.subarray(i * width, (i + 1) * width));
    }
    return this.scoreVectors(model, values, events.length);
  }

  /** Scores feature vectors: row-major rows x columns, owned by the caller, only read. */
  scoreVectors(model: string, values: Float32Array, rows: number): Promise<readonly Score[]> {
    const { schema, id } = this.#schema(model);
    const batch: FeatureBatch = {
      schemaId: id,
      sourceKind: this.engine.current(model)?.sourceKinds[0] ?? '',
      rows,
      columns: schema.columns.length,
      values,
      rejected: [],
    };
    return this.engine.score(batch, { model });
  }

  /** Registry name of the configured model. */
  get modelName(): string {
    return this.config.model.modelPath.split('@')[0] as string;
  }

  /** Notes a refusal in the log; equal ones of a second become one entry with a count. */
  denied(denial: Denial): void {
    this.#denials.deny(denial);
  }

  async close(): Promise<void> {
    clearInterval(this.#sweeper);
    this.monitor.stop();
    this.detections.close();
    await this.#denials.close();
    await this.log.close();
    await this.#publisher.settled();
    await this.database.close();
    await this.keys.close();
    await this.#owner.release();
  }

  /** No copy of a key wrap outlives its time in escrow, however long the process runs. */
  #sweep(): void {
    this.registry.custody.sweepEscrow({ principal: 'system' }).catch((error: unknown) => {
      const code = error instanceof GuardianError ? error.code : 'unknown';
      this.logger.error({ code }, 'expired key wraps could not be removed from escrow');
    });
  }

  /** One load at a time, each asking where the alias points when its turn comes: the last word of two is what serves. */
  #inLine<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#lastLoad.then(work, work);
    this.#lastLoad = result.catch(() => undefined);
    return result;
  }

  async #load(reference: string): Promise<VerifiedModel> {
    const verified = await this.registry.verify(reference);
    await this.#put(verified);
    return verified;
  }

  async #put(verified: VerifiedModel): Promise<void> {
    const { config } = this;
    const loaded = parseSchema(verified.schemaBytes, `the schema of ${verified.name}`);
    if (verified.name === this.modelName) checkExpected(config, verified, loaded);
    await this.engine.load(verified);
    const others = (this.#residents.get(verified.name) ?? []).filter(
      ({ version }) => version !== verified.version,
    );
    this.#residents.set(verified.name, [verified, ...others].slice(0, RESIDENT_MODELS));
    const before = this.#schemas.get(verified.name);
    this.#schemas.set(verified.name, loaded);
    if (before !== undefined && before.id !== loaded.id) {
      for (const key of this.#routes.keys()) if (key.endsWith(`\n${verified.name}`)) this.#routes.delete(key);
    }
  }

  #schema(model: string): LoadedSchema {
    const loaded = this.#schemas.get(model);
    if (loaded === undefined) {
      throw new InferenceError('inference.no-model', `no model named ${JSON.stringify(model)} is loaded`);
    }
    return loaded;
  }

  /** One extractor a stream and model; taken out and put back, so that the first of the map is the stalest. */
  #extractor(route: string, model: string): FlowExtractor {
    const key = `${route}\n${model}`;
    const extractor = this.#routes.get(key) ?? new FlowExtractor(this.#schema(model));
    this.#routes.delete(key);
    this.#routes.set(key, extractor);
    if (this.#routes.size > MAX_ROUTES) this.#routes.delete(this.#routes.keys().next().value as string);
    return extractor;
  }

  #count(outcomes: readonly FlowOutcome[], detections: readonly Detection[], keep: boolean): IngestResult {
    const verdicts = { attack: 0, benign: 0, abstain: 0 };
    const decisions = { allow: 0, observe: 0, 'would-block': 0, vetoed: 0, block: 0 };
    for (const { score, decision } of outcomes) {
      verdicts[score.verdict]++;
      decisions[decision.verdict]++;
    }
    for (const [verdict, n] of Object.entries(verdicts)) if (n > 0) this.#flows.add({ verdict }, n);
    for (const [verdict, n] of Object.entries(decisions)) if (n > 0) this.#decisions.add({ verdict }, n);
    for (const { activity } of detections) this.#findings.add({ activity });
    return { flows: outcomes.length, verdicts, decisions, detections, ...(keep && { outcomes }) };
  }
}

/** Where people come by OIDC, two of them are to be had. */
function registryPolicy({ registry, model, server, keys }: Configuration): RegistryPolicy {
  const { approvals, approvalDays, gates } = registry;
  return {
    approvals: approvals === 'auto' && server.oidc.issuer !== null ? 2 : approvals,
    approvalDays,
    gates,
    versioning: model.versioningStrategy,
    postQuantum: keys.postQuantum,
  };
}

/** What the configuration expects of the model that watches; nothing else may take its place. */
function checkExpected({ model }: Configuration, verified: VerifiedModel, { schema }: LoadedSchema): void {
  if (model.modelVersion !== null && verified.version !== model.modelVersion) {
    throw new InferenceError(
      'inference.unexpected-model',
      `the configuration expects ${verified.name}@${model.modelVersion}, got ${verified.version}`,
    );
  }
  const columns = schema.columns.map(({ name }) => name);
  if (model.featureColumns !== null && model.featureColumns.join('\n') !== columns.join('\n')) {
    throw new InferenceError(
      'inference.unexpected-model',
      `the configuration names ${model.featureColumns.length} feature columns, the model's schema has other ones`,
    );
  }
}

/** The database of several servers, with the lease of the writer; undefined where this machine keeps its own. */
async function openLeased(
  { config, logger }: GuardianOptions,
  layout: StateLayout,
): Promise<LeasedDatabase | undefined> {
  if (config.storage.database === 'sqlite') return undefined;
  await mkdir(dirname(layout.audit), { recursive: true, mode: 0o700 });
  return await openPostgresDatabase({
    config: config.storage.postgres,
    wrapsFolder: layout.wraps,
    onFenced: () =>
      logger?.error({ code: 'storage.fenced' }, 'another server took over as the writer; restart this one'),
  });
}

/**
 * A store is made with a new state only: a state that has a log has keys somewhere, and others would not fit it.
 */
function openKeys(
  options: GuardianOptions,
  layout: StateLayout,
  auditFolder: string,
  clock: Clock,
): Promise<KeyStore> {
  const { config, configFolder } = options;
  return openKeyStore({
    uri: config.keys.uri,
    path: layout.keys,
    secret: options.secret ?? { kind: 'file', path: join(configFolder, 'unlock.key') },
    pinPath: join(configFolder, 'hsm.pin'),
    attemptsPath: layout.pinAttempts,
    clock,
    create: !existsSync(join(auditFolder, 'checkpoint')),
  });
}

function lastEnd(flows: readonly FlowRecord[]): Milliseconds {
  return flows.reduce((latest, { endMs }) => Math.max(latest, endMs), 0);
}
