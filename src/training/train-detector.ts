import { resolveTrainingConfig } from './config.ts';
import { trainHybrid } from './hybrid/train-hybrid.ts';
import { type TrainModelInput, trainModel } from './train-model.ts';
import type { TrainingResult } from './training-result.ts';

/** Trains by the configured method: the hybrid, or boosted trees alone. Throws as `trainModel`. */
export function trainDetector(input: TrainModelInput): Promise<TrainingResult> {
  return resolveTrainingConfig(input.config).method === 'hybrid' ? trainHybrid(input) : trainModel(input);
}
