import type { Digest } from '../../base/index.ts';
import { canonicalJson, sha256 } from '../../crypto/index.ts';
import { resolveTrainingConfig } from '../config.ts';
import { HYBRID_TRAINER } from '../hybrid/train-hybrid.ts';
import { tableDigest } from '../labelled-table.ts';
import { TRAINER, type TrainModelInput } from '../train-model.ts';

/** What makes two runs the same run: they give the same model, whatever the threads. */
export interface TrainingRun {
  readonly data: Digest;
  readonly schema: Digest;
  /** Of the configuration with its defaults. */
  readonly configuration: Digest;
  readonly seed: number;
  readonly trainer: string;
}

export function trainingRun({
  table,
  schema,
  config,
  seed,
}: Pick<TrainModelInput, 'table' | 'schema' | 'config' | 'seed'>): TrainingRun {
  const resolved = resolveTrainingConfig(config);
  return {
    data: tableDigest(table),
    schema: schema.id,
    configuration: sha256(canonicalJson(resolved)),
    seed,
    trainer: resolved.method === 'hybrid' ? `${HYBRID_TRAINER}, ${TRAINER}` : TRAINER,
  };
}

/** Names of what differs between two runs; none where they are the same. */
export function runDifferences(a: TrainingRun, b: TrainingRun): string[] {
  const keys = ['data', 'schema', 'configuration', 'seed', 'trainer'] as const;
  return keys.filter((key) => a[key] !== b[key]);
}
