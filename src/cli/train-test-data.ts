import { basename } from 'node:path';
import type { LoadedSchema } from '../features/index.ts';
import {
  type Evaluation,
  evaluateModel,
  type LabelledTable,
  type TrainingResult,
} from '../training/index.ts';
import type { Context } from './context.ts';
import { CliError } from './errors.ts';
import type { Extraction } from './extraction.ts';
import { readLabelledData } from './labelled-data.ts';
import { defaultLooksFile, recordTestLook } from './test-looks.ts';

/** Data that a training is only measured on. */
export interface TestData {
  readonly test?: string;
  readonly testLabels?: string;
  /** List to which the look is appended; the project's own where absent. */
  readonly looks?: string;
}

/** Measures what was trained on data kept for testing. */
export async function measureOnTest(
  context: Context,
  schema: LoadedSchema,
  trained: TrainingResult,
  options: TestData & { readonly extractions: Extraction[] },
): Promise<Evaluation & { readonly table: LabelledTable }> {
  const { testLabels: labels, extractions } = options;
  const table = await readLabelledData(context, schema, options.test ?? '', {
    ...{ labels, command: 'train' as const, extractions },
  });
  return { ...evaluateModel(trained.model, table), table };
}

/** Appends the look to the list of looks at test data. Throws `cli.usage` where it cannot. */
export async function noteLook(context: Context, options: TestData, evaluation: Evaluation): Promise<void> {
  const file = options.looks ?? (await defaultLooksFile());
  if (file === undefined) return;
  const { accuracy, fpr, recall, auc } = evaluation.metrics;
  const seen = [
    `accuracy ${accuracy.value.toFixed(4)}`,
    `FPR ${fpr.value.toFixed(4)}`,
    `recall ${recall.value.toFixed(4)}`,
    `AUC ${auc.value.toFixed(4)}`,
  ];
  const data = basename(options.test ?? '');
  await recordTestLook(file, { data, seen: `${seen.join(', ')} (\`guardian train\`)` }, context.clock).catch(
    (cause: unknown) => {
      throw new CliError('cli.usage', `cannot append the look to ${file}`, { cause });
    },
  );
}
