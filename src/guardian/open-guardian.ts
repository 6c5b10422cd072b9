import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { DetectionStore, NoticeDelivery, Triage } from '../alerts/index.ts';
import {
  auditedKeyStore,
  CheckpointPublisher,
  fencedAuditLog,
  openAuditLog,
  recordConfiguration,
} from '../audit/index.ts';
import { type Clock, GuardianError, silentLogger, systemClock } from '../base/index.ts';
import { openBus } from '../bus/index.ts';
import type { Configuration } from '../configuration.ts';
import { type KeyStore, openKeyStore } from '../crypto/index.ts';
import { Engine, openRunnable } from '../inference/index.ts';
import { Monitor } from '../monitor/index.ts';
import { openRegistry, type RegistryPolicy } from '../registry/index.ts';
import { createPolicy, Guardrails, readMachineAddresses } from '../response/index.ts';
import {
  claimLogFolder,
  claimState,
  fencedBlobs,
  type LeasedDatabase,
  openConfiguredBlobs,
  openDatabase,
  openDirectoryBlobStore,
  openPostgresDatabase,
  type StateLayout,
  stateLayout,
} from '../storage/index.ts';
import { createGateEvaluator } from '../training/index.ts';

import { CertificateNotes } from './certificate-notes.ts';
import { noteGpu } from './gpu-notes.ts';
import { Guardian, type GuardianOptions } from './guardian.ts';
import { ModelNotes } from './model-notes.ts';
import { pressureOnScoring } from './throttled-models.ts';
import { TrainingKeys } from './training-keys.ts';

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
      onSigning: (code) => {
        if (code === undefined) options.logger?.info({}, 'checkpoints of the audit log are signed again');
        else
          options.logger?.error(
            { code },
            'checkpoints of the audit log cannot be signed; entries go on being kept, and are signed later',
          );
      },
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
    const trainingKeys = new TrainingKeys({ keys, log, database });
    const registry = await openRegistry({
      ...{ keys, log, blobs, db: database, clock },
      policy: registryPolicy(config),
      retention: config.registry.retention,
      escrow,
      serving: (name) => engine.versionsInService(name),
      evaluator: createGateEvaluator({
        ...{ gates: config.gates, meter: config.meter, clock },
        openKey: (wraps, subject) => trainingKeys.open('data', wraps, { subject, principal: 'system' }),
        openModel: (model) => openRunnable(model, config.inference.onnx),
      }),
    });
    const certificates = new CertificateNotes(log, options.logger ?? silentLogger);
    const modelNotes = new ModelNotes(log, options.logger ?? silentLogger);
    const engine = new Engine({
      ...{ config: config.inference, clock, noteCertificate: certificates.note },
      ...{ noteHealth: modelNotes.health, noteRolloutEnd: modelNotes.rolloutEnd },
      noteGpu: noteGpu(options.logger ?? silentLogger, config.inference.provider),
      pressure: () => pressureOnScoring(monitor.throttle),
      isShared: config.bus.url !== null && config.bus.sealingKeyFile !== null,
    });
    opened.push(engine);
    const notices = new NoticeDelivery({
      ...{ config: config.alerts.sinks, queries: database.detections, settings: database.settings, clock },
      logger: options.logger ?? silentLogger,
      noteLost: async ({ key, ...detail }) => {
        await log.append({
          ...{ kind: 'event', action: 'notice.lost', principal: 'system', subject: key, detail },
        });
      },
    });
    const detections = new DetectionStore({
      ...{ queries: database.detections, results: database.eventResults, clock, config: config.alerts },
      onStored: () => notices.wake(),
    });
    const triage = await Triage.open({ database, detections, log, clock });
    const policy = createPolicy(config.response, { protectedSet: readMachineAddresses() });
    const monitor = new Monitor({ config: config.monitor, clock, diskPath: stateFolder });
    monitor.start();
    const parts = {
      owner,
      keys,
      log,
      publisher,
      database,
      blobs,
      registry,
      engine,
      detections,
      monitor,
      notices,
      triage,
    };
    const notes = { certificates, modelNotes };
    const guardian = new Guardian(options, {
      ...parts,
      ...notes,
      auditFolder,
      guardrails: new Guardrails(policy),
    });
    if (config.bus.url !== null) {
      await guardian
        .joinBus(() => openBus(config.bus))
        .catch(async (error: unknown) => {
          opened.length = 0;
          await guardian.close();
          throw error;
        });
    }
    return guardian;
  } catch (error) {
    // Closed in reverse, and the first fault is the one that is told.
    for (const part of opened.reverse()) await part.close().catch(() => {});
    throw error;
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
