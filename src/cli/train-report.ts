import { describeClaim } from '../models/index.ts';
import type { GateReport, PublishedVersion } from '../registry/index.ts';
import {
  type CheckpointCounts,
  type Evaluation,
  type PauseCounters,
  publishedRecord,
  type TrainingResult,
} from '../training/index.ts';
import { gatesTable, metricsOf, metricsTable } from './metrics-text.ts';
import type { Output } from './output.ts';
import { secureLines } from './secure-training.ts';
import { count } from './text.ts';

export interface TrainReport {
  readonly trained: TrainingResult;
  readonly pauses: PauseCounters;
  readonly gates: GateReport;
  readonly evaluation: Evaluation;
  readonly certificate: Parameters<typeof describeClaim>[0];
  readonly published: PublishedVersion;
  /** Absent without checkpoints. */
  readonly counts: CheckpointCounts | undefined;
  /** Test rows that stand among those trained on; absent where nothing was tested. */
  readonly known: number | undefined;
  /** What the metrics are of. */
  readonly measuredOn: string;
}

/** Says what came of a training: lines to read, and one object. */
export function reportTraining(output: Output, report: TrainReport): void {
  const { trained, pauses, gates, evaluation, certificate, published, counts, known, measuredOn } = report;
  output.line(
    `${count(trained.rounds)} trees in ${trained.trainCpuSeconds.toFixed(1)} CPU seconds, threshold ${trained.threshold.toFixed(3)}`,
  );
  if (pauses.pauses > 0) output.line(pausesLine(pauses));
  output.line(`\nOn ${measuredOn} (${count(evaluation.rows)} rows):`);
  output.line(metricsTable(evaluation.metrics));
  if (known !== undefined) output.line(`${count(known)} of these rows stand among those trained on`);
  output.line(`\n${gatesTable(gates)}`);
  output.line(`\n${describeClaim(certificate)}`);
  output.line(`published ${published.name}@${published.version} ${published.digest}`);
  output.line(
    gates.passed
      ? `promote it with: guardian models promote ${published.name}@${published.version}`
      : 'a gate failed: this version cannot be promoted',
  );
  const secure = publishedRecord(trained.provenance.configuration);
  if (secure !== undefined) output.line(`\n${secureLines(secure).join('\n')}`);
  output.object({
    type: 'train.result',
    model: published.name,
    version: published.version,
    digest: published.digest,
    modelDigest: trained.digest,
    ...(secure && { secure }),
    trainCpuSeconds: trained.trainCpuSeconds,
    rounds: trained.rounds,
    ...(counts && { checkpoints: counts }),
    pauses,
    threshold: trained.threshold,
    measuredOn,
    ...(known !== undefined && { testDuplicates: known }),
    metrics: metricsOf(evaluation.metrics),
    gates: gates.gates,
    certificate,
  });
}

function pausesLine({ pauses, pausedMs, byCause }: PauseCounters): string {
  const causes = Object.entries(byCause).filter(([, ms]) => ms > 0);
  const shares = causes.map(([cause, ms]) => `${cause} ${(ms / 1000).toFixed(1)} s`).join(', ');
  return `paused ${count(pauses)} times for ${(pausedMs / 1000).toFixed(1)} s: ${shares}`;
}
