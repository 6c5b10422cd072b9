import type { LoadedSchema } from '../../features/index.ts';
import type { DetectionModel } from '../../models/index.ts';
import { categoryCounts, type LabelledTable, selectRows } from '../labelled-table.ts';
import { trainStump } from '../stump.ts';

/** Rows a stump is fitted on at most, evenly drawn from the table: sorting a million for a check would be much. */
const STUMP_ROWS = 50_000;

/** The columns that model and schema do not have alike; all of them where the digests of the schemas differ. */
export function schemaMismatches(model: DetectionModel, { schema, id }: LoadedSchema): readonly string[] {
  const names = schema.columns.map(({ name }) => name);
  if (model.schemaId !== id) return names;
  const all = names.length >= model.columnNames.length ? names : model.columnNames;
  return all.filter((_, c) => names[c] !== model.columnNames[c]);
}

/**
 * How many rows of a table have the very values of a row of the other one; labels are not compared. Missing equals missing.
 * Rows are found by a hash over their bits and then compared. O(rows columns).
 */
export function countDuplicates(
  table: Pick<LabelledTable, 'rows' | 'columns' | 'values'>,
  other: Pick<LabelledTable, 'columns' | 'values'>,
  otherRows: ArrayLike<number>,
): number {
  const { columns, rows } = table;
  if (columns !== other.columns) return 0;
  let size = 1024;
  while (size < otherRows.length * 2) size *= 2;
  const slots = new Uint32Array(size);
  const theirs = bitsOf(other.values);
  const mine = bitsOf(table.values);
  /** Where a row equal to this one stands, or the free slot where it belongs. */
  const slotOf = (bits: Uint32Array, at: number): number => {
    let slot = hashRow(bits, at, columns) & (size - 1);
    while (slots[slot] !== 0 && !areEqual(theirs, ((slots[slot] as number) - 1) * columns, bits, at, columns))
      slot = (slot + 1) & (size - 1);
    return slot;
  };
  for (let i = 0; i < otherRows.length; i++) {
    const r = otherRows[i] as number;
    slots[slotOf(theirs, r * columns)] = r + 1;
  }
  let count = 0;
  for (let r = 0; r < rows; r++) if (slots[slotOf(mine, r * columns)] !== 0) count++;
  return count;
}

/** The column that tells the label best by itself, and its balanced accuracy; undefined where a class has under 100 rows. */
export function strongestColumn(
  table: LabelledTable,
  schema: LoadedSchema,
): { readonly column: string; readonly accuracy: number } | undefined {
  const attacks = table.labels.reduce((sum, label) => sum + label, 0);
  if (attacks < 100 || table.rows - attacks < 100) return undefined;
  const step = Math.max(1, table.rows / STUMP_ROWS);
  const drawn = Uint32Array.from({ length: Math.floor(table.rows / step) }, (_, i) => Math.floor(i * step));
  const { column, accuracy } = trainStump(step === 1 ? table : selectRows(table, drawn), {
    balanced: true,
    categories: categoryCounts(schema),
  });
  // Sums of many weights end a little beside 1.
  return { column: schema.schema.columns[column]?.name ?? String(column), accuracy: Math.min(1, accuracy) };
}

function bitsOf(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}

function hashRow(bits: Uint32Array, at: number, columns: number): number {
  let h = 0x9747b28c;
  for (let i = at; i < at + columns; i++) {
    h = Math.imul(h ^ (bits[i] as number), 0x9e3779b1);
    h ^= h >>> 15;
  }
  return Math.imul(h, 0x85ebca6b) >>> 0;
}

function areEqual(a: Uint32Array, atA: number, b: Uint32Array, atB: number, columns: number): boolean {
  for (let c = 0; c < columns; c++) if (a[atA + c] !== b[atB + c]) return false;
  return true;
}
