import type { Digest } from '../base/index.ts';
import { canonicalJson, sha256 } from '../crypto/index.ts';
import type { LoadedSchema } from '../features/index.ts';
import { TrainingError } from './errors.ts';

/** Labelled rows; what `readTable` gives is one. Arrays are owned by the caller and not changed. */
export interface LabelledTable {
  readonly rows: number;
  readonly columns: number;
  /** Float32Array, row-major rows x columns; missing is NaN, a category its index. */
  readonly values: Float32Array;
  /** 1 attack, 0 benign. */
  readonly labels: Uint8Array;
  /** Index into `typeNames`, one a row. */
  readonly typeIndex: Uint16Array;
  readonly typeNames: readonly string[];
  /** Time of each row, any unit; needed to split by time. */
  readonly times?: Float64Array;
  /** Weight of each row, 0 to 1024; 1 where absent. */
  readonly weights?: Float32Array;
  /** Number of the episode of each row: flows of one source and label; absent where rows name no source. */
  readonly episodes?: Uint32Array;
  /** Where the flows were measured; absent for tables, whose schema says it. */
  readonly sourceKinds?: readonly string[];
  /** Of the data the rows came from; computed from the rows where absent. */
  readonly digest?: Digest;
}

/** Highest row weight; gradients are 32-bit fixed-point numbers. */
export const MAX_WEIGHT = 1024;

/** Refuses a table whose parts do not fit each other, or the schema where one is given. Throws training.table-invalid. */
export function checkTable(table: LabelledTable, schema?: LoadedSchema): void {
  const { rows, columns, values, labels, typeIndex, typeNames, times, weights, episodes } = table;
  const expectedColumns = schema?.schema.columns.length ?? columns;
  if (columns !== expectedColumns) {
    throw invalid(`the table has ${columns} columns, the schema ${expectedColumns}`);
  }
  const lengths = [
    ['values', values.length, rows * columns],
    ['labels', labels.length, rows],
    ['typeIndex', typeIndex.length, rows],
    ['times', times?.length ?? rows, rows],
    ['weights', weights?.length ?? rows, rows],
    ['episodes', episodes?.length ?? rows, rows],
  ] as const;
  for (const [name, length, expected] of lengths) {
    if (length !== expected) throw invalid(`${name} has ${length} entries, expected ${expected}`);
  }
  for (let i = 0; i < values.length; i++) {
    const x = values[i] as number;
    if (x === Number.POSITIVE_INFINITY || x === Number.NEGATIVE_INFINITY) {
      throw invalid(`row ${Math.floor(i / columns)} holds an infinite value`);
    }
  }
  for (let r = 0; r < rows; r++) {
    if ((labels[r] as number) > 1) throw invalid(`row ${r} has the label ${labels[r]}`);
    if ((typeIndex[r] as number) >= typeNames.length) throw invalid(`row ${r} has the type ${typeIndex[r]}`);
    const weight = weights === undefined ? 1 : (weights[r] as number);
    if (!(weight >= 0 && weight <= MAX_WEIGHT)) throw invalid(`row ${r} has the weight ${weight}`);
  }
}

/** Number of categories of each column, 0 for a number; 256 at most, what lies beyond counts as missing. */
export function categoryCounts({ schema }: LoadedSchema): number[] {
  return schema.columns.map((column) => Math.min(256, column.categories?.length ?? 0));
}

/** The schema's columns as a model keeps them. */
export function modelColumns(schema: LoadedSchema): { name: string; categories: number }[] {
  const categories = categoryCounts(schema);
  return schema.schema.columns.map(({ name }, c) => ({ name, categories: categories[c] as number }));
}

/** The digest of the data; for rows that came from no file sha-256 over values, labels, types and type names. */
export function tableDigest({ digest, columns, typeNames, ...rows }: LabelledTable): Digest {
  if (digest !== undefined) return digest;
  const arrays = [rows.values, rows.labels, rows.typeIndex].map((array) =>
    sha256(new Uint8Array(array.buffer, array.byteOffset, array.byteLength)),
  );
  return sha256(canonicalJson([columns, ...arrays, typeNames]));
}

/** The table with only these rows, in this order. Weights, times and digest follow. */
export function selectRows(table: LabelledTable, rows: ArrayLike<number>): LabelledTable {
  const { columns } = table;
  const n = rows.length;
  const values = new Float32Array(n * columns);
  const labels = new Uint8Array(n);
  const typeIndex = new Uint16Array(n);
  const times = table.times && new Float64Array(n);
  const weights = table.weights && new Float32Array(n);
  const episodes = table.episodes && new Uint32Array(n);
  for (let i = 0; i < n; i++) {
    const r = rows[i] as number;
    values.set(table.values.subarray(r * columns, (r + 1) * columns), i * columns);
    labels[i] = table.labels[r] as number;
    typeIndex[i] = table.typeIndex[r] as number;
    if (times !== undefined) times[i] = table.times?.[r] as number;
    if (weights !== undefined) weights[i] = table.weights?.[r] as number;
    if (episodes !== undefined) episodes[i] = table.episodes?.[r] as number;
  }
  return {
    rows: n,
    columns,
    values,
    labels,
    typeIndex,
    typeNames: table.typeNames,
    ...(times && { times }),
    ...(weights && { weights }),
    ...(episodes && { episodes }),
    ...(table.digest && { digest: table.digest }),
  };
}

/**
 * The rows of several tables of one schema, one behind the other. Types of one name become one; weights, times and episodes stay
 * where every table has them, so does the digest: of the tables' digests. Throws training.table-invalid.
 */
export function joinTables(tables: readonly LabelledTable[]): LabelledTable {
  const [first] = tables;
  if (first === undefined) throw invalid('expected a table to join, got none');
  const rows = tables.reduce((sum, table) => sum + table.rows, 0);
  const typeNames: string[] = [];
  const values = new Float32Array(rows * first.columns);
  const labels = new Uint8Array(rows);
  const typeIndex = new Uint16Array(rows);
  const times = tables.every((table) => table.times) ? new Float64Array(rows) : undefined;
  const weights = tables.every((table) => table.weights) ? new Float32Array(rows) : undefined;
  const episodes = tables.every((table) => table.episodes) ? new Uint32Array(rows) : undefined;
  let at = 0;
  let firstEpisode = 0;
  for (const table of tables) {
    if (table.columns !== first.columns) {
      throw invalid(`a table has ${table.columns} columns, the first ${first.columns}`);
    }
    const types = table.typeNames.map((name) => {
      if (!typeNames.includes(name)) typeNames.push(name);
      return typeNames.indexOf(name);
    });
    values.set(table.values, at * first.columns);
    labels.set(table.labels, at);
    typeIndex.set(
      table.typeIndex.map((type) => types[type] ?? 0xffff),
      at,
    );
    if (table.times !== undefined) times?.set(table.times, at);
    if (table.weights !== undefined) weights?.set(table.weights, at);
    if (episodes !== undefined && table.episodes !== undefined) {
      // An episode does not reach into another table.
      const offset = firstEpisode;
      episodes.set(
        table.episodes.map((episode) => episode + offset),
        at,
      );
      firstEpisode += table.episodes.reduce((most, episode) => Math.max(most, episode + 1), 0);
    }
    at += table.rows;
  }
  const digests = tables.map(({ digest }) => digest);
  return {
    rows,
    columns: first.columns,
    values,
    labels,
    typeIndex,
    typeNames,
    ...(times && { times }),
    ...(weights && { weights }),
    ...(episodes && { episodes }),
    ...(digests.every((digest) => digest !== undefined) && { digest: sha256(canonicalJson(digests)) }),
  };
}

function invalid(message: string): TrainingError {
  return new TrainingError('training.table-invalid', message);
}
