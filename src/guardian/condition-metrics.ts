import type { DetectionStore, JudgedModel, Triage } from '../alerts/index.ts';
import { type AuditLog, auditCoverage, type CheckpointPublisher } from '../audit/index.ts';
import type { Measured, Metrics } from '../base/index.ts';
import { type Monitor, type Reading, THROTTLE_LEVELS } from '../monitor/index.ts';
import type { Guardrails } from '../response/index.ts';

/** What of a guardian tells how it fares, beside what it scores. */
export interface Condition {
  readonly monitor: Monitor;
  readonly guardrails: Pick<Guardrails, 'counters'>;
  readonly triage: Pick<Triage, 'accuracy'>;
  readonly detections: Pick<DetectionStore, 'stats'>;
  readonly log: Pick<AuditLog, 'size'>;
  readonly publisher: Pick<CheckpointPublisher, 'stats'>;
}

/**
 * Registers how much of the machine is used, the limits that were reached, what the guard rails held back, how much of what
 * must be audited is, and how right analysts found the models. NaN where the system does not say.
 */
export function observeCondition(metrics: Metrics, condition: Condition): void {
  const { monitor, guardrails, triage, detections, log, publisher } = condition;
  const gauge = (name: string, help: string, read: (reading: Reading) => number) =>
    metrics.gauge(name, help, () => (monitor.reading === undefined ? Number.NaN : read(monitor.reading)));
  gauge('cpu_cores', 'Cores in use by this process.', ({ processCpuCores }) => processCpuCores);
  gauge(
    'cpu_share',
    'Cores in use by this process over those it may use, 0 to 1.',
    ({ processCpuCores, cpuCores }) => processCpuCores / cpuCores,
  );
  gauge(
    'machine_cpu_share',
    'Cores of the machine in use, 0 to 1.',
    ({ machineCpuShare }) => machineCpuShare,
  );
  gauge(
    'memory_available_bytes',
    'Memory that can still be taken, by machine or control group.',
    ({ memoryAvailableBytes }) => memoryAvailableBytes,
  );
  gauge(
    'event_loop_delay_seconds',
    'The latest the event loop was in the last interval of the monitor.',
    ({ eventLoopDelayMs }) => eventLoopDelayMs / 1000,
  );
  gauge(
    'gpu_busy_share',
    'The busiest GPU, 0 to 1, where its driver tells the kernel.',
    ({ gpuBusyShare }) => gpuBusyShare,
  );
  gauge(
    'gpu_memory_free_bytes',
    'What the fullest GPU has left, where its driver tells the kernel.',
    ({ gpuMemoryFreeBytes }) => gpuMemoryFreeBytes,
  );
  gauge('disk_free_bytes', 'Free space beside the state.', ({ diskFreeBytes }) => diskFreeBytes);
  metrics.gauge('resident_bytes', 'Resident memory of this process.', () => process.memoryUsage.rss());

  metrics.gauge(
    'throttle_level',
    'What is given up: 0 nothing, 1 training slows, 2 batches too, 3 new work is refused.',
    () => THROTTLE_LEVELS.indexOf(monitor.throttle.level),
  );
  const violations = metrics.counter(
    'limit_violations_total',
    'Times a limit of the monitor raised the level of throttling, by measure.',
    ['measure'],
  );
  let level = 0;
  monitor.subscribe('throttle', ({ level: name, causes }) => {
    const now = THROTTLE_LEVELS.indexOf(name);
    if (now > level) for (const measure of causes) violations.add({ measure });
    level = now;
  });

  metrics.counted(
    'rail_vetoes_total',
    'Actions that a guard rail held back, alone or with others.',
    'rail',
    () => guardrails.counters.vetoes,
  );
  metrics.gauge('open_findings', 'Findings that still grow.', () => detections.stats.openFindings);
  metrics.gauge('audit_entries', 'Entries of the audit log.', () => log.size);
  metrics.gauge(
    'audit_witnessed_size',
    'Entries under the last checkpoint that has the cosignatures wanted.',
    () => publisher.stats.witnessedSize,
  );
  metrics.gauge(
    'audit_publish_failures',
    'Copies and cosignatures of checkpoints that failed since the start.',
    () => publisher.stats.failures,
  );
  metrics.gauge(
    'audit_coverage',
    'Audited actions over all auditable actions, 0 to 1.',
    () => auditCoverage().share,
  );
  metrics.measured(
    'judged_precision',
    'Attacks among the detections of a model that analysts judged, with its exact 95 % interval; what nobody judged is not in it.',
    ['model', 'bound'],
    async () => (await triage.accuracy()).flatMap(precisionsOf),
  );
}

function precisionsOf({ model, precision }: JudgedModel): readonly Measured[] {
  return (['low', 'value', 'high'] as const).map((bound) => ({
    labels: { model, bound },
    value: precision[bound],
  }));
}
