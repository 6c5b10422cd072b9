import type { Digest } from '../base/index.ts';
import { FeatureError, type FeatureErrorCode } from './errors.ts';
import type { LoadedSchema } from './schema.ts';

/** A row of a batch that must not be scored, and why. */
export interface RejectedRow {
  readonly row: number;
  readonly code: FeatureErrorCode;
  readonly column: string;
}

/** Feature vectors on their way to a model. */
export interface FeatureBatch {
  readonly schemaId: Digest;
  readonly sourceKind: string;
  readonly rows: number;
  readonly columns: number;
  /** Row-major, rows x columns, owned by the caller; missing is NaN, a category its index, a flag 0 or 1. */
  readonly values: Float32Array;
  /** Rows that broke the schema, in order of row; their values are NaN. */
  readonly rejected: readonly RejectedRow[];
}

/**
 * Checks a batch that comes from elsewhere against its schema: shape, source kind, and every value (finite or
 * missing where allowed, whole and in the list for a category, 0 or 1 for a flag). Throws
 * `features.batch-malformed` naming the first fault. Rows listed as rejected are not looked at.
 */
export function checkBatch(batch: FeatureBatch, { schema, id }: LoadedSchema): void {
  const fail = (what: string): never => {
    throw new FeatureError('features.batch-malformed', what);
  };
  const { rows, columns, values } = batch;
  if (batch.schemaId !== id) fail(`expected schema ${id}, got ${batch.schemaId}`);
  if (!schema.sourceKinds.includes(batch.sourceKind)) {
    fail(`expected a source kind of ${schema.sourceKinds.join(', ')}, got ${batch.sourceKind}`);
  }
  if (columns !== schema.columns.length) fail(`expected ${schema.columns.length} columns, got ${columns}`);
  if (!Number.isSafeInteger(rows) || rows < 0) fail('expected a whole number of rows');
  if (values.length !== rows * columns) fail(`expected ${rows * columns} values, got ${values.length}`);
  const skipped = new Set<number>();
  for (const { row } of batch.rejected) {
    if (!Number.isInteger(row) || row < 0 || row >= rows) fail(`rejected row ${row} is not in the batch`);
    skipped.add(row);
  }
  for (let row = 0; row < rows; row++) {
    if (skipped.has(row)) continue;
    for (let c = 0; c < columns; c++) {
      const value = values[row * columns + c] as number;
      const column = schema.columns[c] as LoadedSchema['schema']['columns'][number];
      if (Number.isNaN(value)) {
        // An invalid value that the schema turns into a missing one is NaN, too.
        if (column.missing !== 'refuse' || column.invalid === 'missing' || column.invalid === 'impute')
          continue;
        fail(`row ${row}: ${column.name} must not be missing`);
      }
      if (!Number.isFinite(value)) fail(`row ${row}: ${column.name} is not finite`);
      const top = column.type === 'boolean' ? 1 : (column.categories?.length ?? Number.POSITIVE_INFINITY) - 1;
      if (column.type !== 'number' && !(Number.isInteger(value) && value >= 0 && value <= top)) {
        fail(`row ${row}: ${column.name} holds no index from 0 to ${top}`);
      }
    }
  }
}
