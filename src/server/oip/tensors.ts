import { FeatureError, type LoadedSchema } from '../../features/index.ts';
import { ServerError } from '../errors.ts';
import { checkRows } from '../event-bodies.ts';

/** The one input of every model: rows of the schema's columns, row-major. */
export const INPUT_NAME = 'features';

/** Outputs of every model, in order; one value a row. */
export const OUTPUTS = [
  { name: 'probability', datatype: 'FP32' },
  { name: 'verdict', datatype: 'BYTES' },
  { name: 'kind', datatype: 'BYTES' },
] as const;

export type OutputName = (typeof OUTPUTS)[number]['name'];

/** Name, type and shape of a tensor as a request declares them, whatever the protocol. */
export interface DeclaredTensor {
  readonly name: unknown;
  readonly datatype: unknown;
  readonly shape: unknown;
}

/** Feature vectors of a request, checked. Values are row-major rows x columns, owned by the request. */
export interface InputRows {
  readonly rows: number;
  readonly values: Float32Array;
}

const IS_LITTLE_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

/** The rows that an input of these columns declares. Throws `server.tensor-invalid`, `server.too-many-rows`. */
export function readShape({ name, datatype, shape }: DeclaredTensor, columns: number): number {
  if (name !== INPUT_NAME) throw tensorInvalid(`expected the input ${INPUT_NAME}`);
  if (datatype !== 'FP32') throw tensorInvalid('expected an input of datatype FP32');
  const [rows, width] = Array.isArray(shape) ? (shape as readonly unknown[]) : [];
  if (
    !Array.isArray(shape) ||
    shape.length !== 2 ||
    typeof rows !== 'number' ||
    !Number.isSafeInteger(rows) ||
    rows < 0 ||
    width !== columns
  ) {
    throw tensorInvalid(`expected the shape [n, ${columns}], got ${describeShape(shape)}`);
  }
  checkRows(rows);
  return rows;
}

/**
 * Flat data, or an array a row. JSON has no NaN: null is a missing value. Throws `server.tensor-invalid`,
 * `features.not-finite`, `features.missing-value`, `features.unknown-category`.
 */
export function valuesFromList(data: unknown, rows: number, loaded: LoadedSchema): Float32Array {
  if (!Array.isArray(data)) throw tensorInvalid('expected a list in data');
  const checks = columnChecks(loaded);
  const { columns } = checks;
  const values = new Float32Array(rows * columns);
  try {
    copyRows(data, rows, values, checks);
  } catch (error) {
    values.fill(0);
    throw error;
  }
  return values;
}

function copyRows(list: readonly unknown[], rows: number, values: Float32Array, checks: ColumnChecks): void {
  const { columns } = checks;
  if (Array.isArray(list[0])) {
    if (list.length !== rows) throw tensorInvalid(`expected ${rows} rows in data, got ${list.length}`);
    for (let row = 0; row < rows; row++) {
      const part = list[row];
      if (!Array.isArray(part) || part.length !== columns) {
        const got = Array.isArray(part) ? `one of ${part.length}` : 'a single value';
        throw tensorInvalid(`expected rows of ${columns} values, got ${got}`);
      }
      copyRow(part, 0, values, row, checks);
    }
  } else {
    if (list.length !== values.length) {
      throw tensorInvalid(`expected ${values.length} values in data, got ${list.length}`);
    }
    for (let row = 0; row < rows; row++) copyRow(list, row * columns, values, row, checks);
  }
}

/**
 * Little-endian floats, row-major, NaN where a value is missing: a view of the bytes where they are aligned, else one
 * copy. Throws as `valuesFromList` does.
 */
export function valuesFromBytes(bytes: Uint8Array, rows: number, loaded: LoadedSchema): Float32Array {
  const count = rows * loaded.schema.columns.length;
  if (bytes.length !== count * 4) {
    throw tensorInvalid(`expected ${count * 4} bytes of ${count} values, got ${bytes.length}`);
  }
  return checkedValues(floatsOf(bytes, count), rows, loaded);
}

/** The same values, NaN where one is missing. Throws as `valuesFromList` does. */
export function checkedValues(values: Float32Array, rows: number, loaded: LoadedSchema): Float32Array {
  const checks = columnChecks(loaded);
  const count = rows * checks.columns;
  if (values.length !== count) throw tensorInvalid(`expected ${count} values, got ${values.length}`);
  try {
    checkValues(values, rows, checks);
  } catch (error) {
    values.fill(0);
    throw error;
  }
  return values;
}

export function tensorInvalid(message: string): ServerError {
  return new ServerError('server.tensor-invalid', message);
}

/** What is asked of the values of each column. */
interface ColumnChecks {
  readonly schema: LoadedSchema['schema'];
  readonly columns: number;
  /** Highest category, -1 where the column is a number. */
  readonly top: Int32Array;
  readonly mayMiss: Uint8Array;
}

const known = new WeakMap<LoadedSchema, ColumnChecks>();

function columnChecks(loaded: LoadedSchema): ColumnChecks {
  let found = known.get(loaded);
  if (found === undefined) {
    const { schema } = loaded;
    const { columns } = schema;
    const topOf = ({ type, categories }: (typeof columns)[number]) =>
      type === 'number' ? -1 : type === 'boolean' ? 1 : (categories?.length ?? 0) - 1;
    found = {
      schema,
      columns: columns.length,
      top: Int32Array.from(columns, topOf),
      mayMiss: Uint8Array.from(columns, ({ missing, invalid }) =>
        missing === 'keep' || invalid === 'missing' ? 1 : 0,
      ),
    };
    known.set(loaded, found);
  }
  return found;
}

/** Copies values [from, from + columns) of a list to a row, each one checked. */
function copyRow(
  list: readonly unknown[],
  from: number,
  values: Float32Array,
  row: number,
  checks: ColumnChecks,
): void {
  const { columns, top } = checks;
  const start = row * columns;
  for (let c = 0; c < columns; c++) {
    const value = list[from + c];
    if (typeof value === 'number') {
      values[start + c] = value;
      const narrow = values[start + c] as number;
      const highest = top[c] as number;
      // Only a number may be rounded: a category that was none before it is none after.
      if (narrow - narrow !== 0 || (highest >= 0 && !isCategory(value, highest))) {
        throw badValue(value, row, c, checks);
      }
    } else if (value === null && checks.mayMiss[c] === 1) values[start + c] = Number.NaN;
    else throw badValue(value, row, c, checks);
  }
}

function checkValues(values: Float32Array, rows: number, checks: ColumnChecks): void {
  const { columns, top, mayMiss } = checks;
  for (let row = 0, i = 0; row < rows; row++) {
    for (let c = 0; c < columns; c++, i++) {
      const value = values[i] as number;
      const highest = top[c] as number;
      // Of a number only NaN and the infinities have a difference to themselves that is not 0.
      if (highest < 0 ? value - value === 0 : isCategory(value, highest)) continue;
      if (Number.isNaN(value) && mayMiss[c] === 1) continue;
      throw badValue(Number.isNaN(value) ? null : value, row, c, checks);
    }
  }
}

function isCategory(value: number, highest: number): boolean {
  return value >= 0 && value <= highest && Math.trunc(value) === value;
}

function badValue(value: unknown, row: number, column: number, { schema, top }: ColumnChecks): Error {
  const name = `row ${row}: ${schema.columns[column]?.name}`;
  if (value === null) return new FeatureError('features.missing-value', `${name} must not be missing`);
  if (typeof value !== 'number') return tensorInvalid(`${name}: expected a number`);
  if (!Number.isFinite(Math.fround(value))) {
    return new FeatureError('features.not-finite', `${name} must be finite`);
  }
  return new FeatureError('features.unknown-category', `${name} holds no index from 0 to ${top[column]}`);
}

function floatsOf(bytes: Uint8Array, count: number): Float32Array {
  if (IS_LITTLE_ENDIAN && bytes.byteOffset % 4 === 0) {
    return new Float32Array(bytes.buffer as ArrayBuffer, bytes.byteOffset, count);
  }
  if (IS_LITTLE_ENDIAN) return new Float32Array(new Uint8Array(bytes).buffer);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Float32Array.from({ length: count }, (_, i) => view.getFloat32(i * 4, true));
}

function describeShape(shape: unknown): string {
  if (!Array.isArray(shape)) return 'no list';
  const shown = shape.slice(0, 8).map((each) => (typeof each === 'number' ? String(each) : '?'));
  return `[${shown.join(', ')}${shape.length > 8 ? ', ...' : ''}]`;
}
