import { ColumnCodec } from './column-codec.ts';
import { FeatureError, type FeatureErrorCode } from './errors.ts';
import type { RejectCounts } from './reject-counts.ts';
import type { LoadedSchema, TableLayout } from './schema.ts';

const NO_CELL = -1;

export interface TableRowsLimits {
  readonly maxRows: number;
  readonly maxValues: number;
  /** Label of every row, where the file has none. */
  readonly label?: string;
}

/** The arrays of a table while it grows: doubled when full, cut to size at the end. */
export class TableRows {
  read = 0;
  accepted = 0;
  readonly rejects: RejectCounts;
  readonly #layout: TableLayout;
  readonly #codecs: readonly ColumnCodec[];
  readonly #limits: TableRowsLimits;
  readonly #missing: ReadonlySet<string>;
  readonly #normal: ReadonlySet<string>;
  readonly #attack: ReadonlySet<string> | undefined;
  readonly #types = new Map<string, number>();
  #line = 0;
  #width = 0;
  #positions: readonly number[] | undefined;
  #labelAt = NO_CELL;
  #typeAt = NO_CELL;
  #timeAt = NO_CELL;
  #values = new Float32Array(0);
  #labels = new Uint8Array(1024);
  #typeIndex = new Uint16Array(1024);
  #times: Float64Array | undefined;

  constructor(loaded: LoadedSchema, limits: TableRowsLimits, rejects: RejectCounts) {
    const { table, columns, name } = loaded.schema;
    if (table === undefined) {
      throw new FeatureError(
        'features.schema-unsupported',
        `${name} describes ${loaded.schema.kind}, no table`,
      );
    }
    this.#layout = table;
    this.#limits = limits;
    this.rejects = rejects;
    this.#codecs = columns.map((column) => new ColumnCodec(column));
    this.#missing = new Set(table.missingText);
    this.#normal = new Set(table.normal);
    this.#attack = table.attack && new Set(table.attack);
    this.#types.set('benign', 0);
    this.#values = new Float32Array(1024 * columns.length);
    if (table.timeColumn !== undefined) this.#times = new Float64Array(1024);
  }

  /** Names the cells of every row that is added, for a file that names them itself; no header line follows. */
  begin(names: readonly string[]): void {
    this.#place(names);
  }

  /** Takes the next line of the file: the header, a row that fits, or one that is counted as refused. */
  add(cells: readonly string[]): void {
    this.#line++;
    if (this.#positions === undefined) {
      const header = this.#layout.header && !this.#isList(cells);
      this.#place(header ? cells : this.#cellsOf(cells));
      if (header) return;
    }
    this.read++;
    if (this.read > this.#limits.maxRows) {
      throw new FeatureError('features.table-too-large', `expected at most ${this.#limits.maxRows} rows`);
    }
    if (cells.length !== this.#width) {
      this.rejects.add(this.#line, 'features.row-width', '');
      return;
    }
    this.#reserve();
    if (this.#readFeatures(cells) && this.#readLabel(cells)) this.accepted++;
  }

  /** The finished arrays, cut to the accepted rows. */
  finish(): {
    rows: number;
    columns: number;
    values: Float32Array;
    labels: Uint8Array;
    typeIndex: Uint16Array;
    typeNames: readonly string[];
    times?: Float64Array;
  } {
    const rows = this.accepted;
    return {
      rows,
      columns: this.#codecs.length,
      values: this.#values.slice(0, rows * this.#codecs.length),
      labels: this.#labels.slice(0, rows),
      typeIndex: this.#typeIndex.slice(0, rows),
      typeNames: [...this.#types.keys()],
      ...(this.#times && { times: this.#times.slice(0, rows) }),
    };
  }

  #isList(cells: readonly string[]): boolean {
    return this.#layout.listCell !== undefined && cells.length === 1;
  }

  #cellsOf(cells: readonly string[]): readonly string[] {
    const { listCell } = this.#layout;
    return listCell !== undefined && this.#isList(cells) ? [listCell] : this.#layout.cells;
  }

  /** Finds each cell the schema needs among the names of the file's cells. */
  #place(names: readonly string[]): void {
    const at = new Map(names.map((name, index) => [name.trim(), index]));
    const find = (name: string): number => {
      const index = at.get(name);
      if (index !== undefined) return index;
      throw new FeatureError('features.table-malformed', `line ${this.#line}: expected a column ${name}`);
    };
    const { label, attackType, timeColumn, normal } = this.#layout;
    this.#positions = this.#codecs.map(({ column }) => find(column.source ?? column.name));
    this.#width = names.length;
    if (this.#limits.label === undefined) {
      if (!at.has(label) && this.#layout.listCell !== undefined) {
        const message = `a list has no labels: name one, ${normal[0]} or an attack type`;
        throw new FeatureError('features.table-malformed', message);
      }
      this.#labelAt = find(label);
      if (attackType !== undefined) this.#typeAt = find(attackType);
    }
    if (timeColumn !== undefined) this.#timeAt = find(timeColumn);
  }

  #readFeatures(cells: readonly string[]): boolean {
    const base = this.accepted * this.#codecs.length;
    const positions = this.#positions ?? [];
    for (let c = 0; c < this.#codecs.length; c++) {
      const codec = this.#codecs[c] as ColumnCodec;
      const text = cells[positions[c] as number] as string;
      this.#values[base + c] = this.#missing.has(text) ? codec.fromNothing() : codec.fromText(text);
      if (codec.problem !== undefined) return this.#refuse(codec.problem, codec.column.name);
    }
    if (this.#times === undefined) return true;
    const time = Number(cells[this.#timeAt] || Number.NaN);
    this.#times[this.accepted] = time;
    return Number.isFinite(time) || this.#refuse('features.not-finite', this.#layout.timeColumn ?? '');
  }

  #readLabel(cells: readonly string[]): boolean {
    const given = this.#limits.label;
    const label = given ?? this.#trim(cells[this.#labelAt] as string);
    const isNormal = this.#normal.has(label);
    const isAttack =
      given !== undefined || this.#attack === undefined ? label !== '' : this.#attack.has(label);
    if (!isNormal && !isAttack) return this.#refuse('features.label-invalid', this.#layout.label);
    this.#labels[this.accepted] = isNormal ? 0 : 1;
    if (isNormal) {
      this.#typeIndex[this.accepted] = 0;
      return true;
    }
    const type = this.#typeAt === NO_CELL ? label : this.#trim(cells[this.#typeAt] as string);
    const index = this.#typeOf(this.#attack?.has(type) || type === '' ? 'attack' : type);
    if (index === undefined) return this.#refuse('features.label-invalid', this.#layout.attackType ?? '');
    this.#typeIndex[this.accepted] = index;
    return true;
  }

  /** Index of an attack type, at most 65,535 of them. */
  #typeOf(name: string): number | undefined {
    const known = this.#types.get(name);
    if (known !== undefined) return known;
    if (this.#types.size > 0xffff) return undefined;
    this.#types.set(name, this.#types.size);
    return this.#types.size - 1;
  }

  #trim(text: string): string {
    const { trimLabel } = this.#layout;
    return trimLabel !== undefined && text.endsWith(trimLabel) ? text.slice(0, -trimLabel.length) : text;
  }

  #refuse(code: FeatureErrorCode, column: string): false {
    this.rejects.add(this.#line, code, column);
    return false;
  }

  #reserve(): void {
    const columns = this.#codecs.length;
    if ((this.accepted + 1) * columns > this.#limits.maxValues) {
      throw new FeatureError('features.table-too-large', `expected at most ${this.#limits.maxValues} values`);
    }
    if (this.accepted < this.#labels.length) return;
    const rows = this.#labels.length * 2;
    this.#values = grown(this.#values, new Float32Array(rows * columns));
    this.#labels = grown(this.#labels, new Uint8Array(rows));
    this.#typeIndex = grown(this.#typeIndex, new Uint16Array(rows));
    if (this.#times !== undefined) this.#times = grown(this.#times, new Float64Array(rows));
  }
}

function grown<T extends Float32Array | Float64Array | Uint8Array | Uint16Array>(old: T, next: T): T {
  next.set(old);
  return next;
}
