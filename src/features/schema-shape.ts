import { z } from 'zod';
import { isNumberTransform, NUMBER_TRANSFORMS, SCHEMA_LIMITS, TEXT_TRANSFORMS } from './schema-limits.ts';

const text = (max: number) => z.string().min(1).max(max);
const columnName = text(SCHEMA_LIMITS.nameLength).regex(/^[\w .-]+$/);
const kebab = text(SCHEMA_LIMITS.nameLength).regex(/^[a-z][a-z0-9-]*$/);

export const columnSchema = z
  .strictObject({
    name: columnName,
    type: z.enum(['number', 'category', 'boolean']),
    unit: text(32),
    transform: z.enum([...NUMBER_TRANSFORMS, ...TEXT_TRANSFORMS]),
    /** Both ends allowed; of the raw value, before log1p; of the derived number for a text transform. */
    range: z.tuple([z.number(), z.number()]).optional(),
    /** The closed list; a value is the index into it. */
    categories: z.array(z.string().max(64)).min(1).max(SCHEMA_LIMITS.categories).optional(),
    /**
     * What becomes of a number that is out of range, not a number, or of a category that is not in the list. `impute` keeps
     * the row with NaN, as `missing` does, and says that a model fills in what it has fitted.
     */
    invalid: z.enum(['reject', 'clip', 'missing', 'impute']),
    /** Whether a row without this value is refused, kept with NaN, or kept for the model to fill. */
    missing: z.enum(['refuse', 'keep', 'impute']),
    /** Source kinds that never report what this column needs: there it is always NaN. */
    absentIn: z.array(kebab).max(16).optional(),
    /** The column of the table, or key of the event, that it is read from, where that is not `name`. */
    source: columnName.optional(),
    about: text(SCHEMA_LIMITS.aboutLength),
  })
  .superRefine((column, context) => {
    const complain = (message: string) => context.addIssue({ code: 'custom', message });
    const derived = !isNumberTransform(column.transform);
    if ((column.type === 'category') !== (column.categories !== undefined)) {
      complain('categories are for columns of type category, and for all of them');
    }
    if (column.type !== 'number' && column.transform !== 'none') complain('only numbers are transformed');
    if (column.type === 'number' && column.range === undefined) complain('a number needs a range');
    if (column.type !== 'number' && column.range !== undefined) complain('only numbers have a range');
    if (column.range !== undefined && column.range[0] > column.range[1]) complain('the range is upside down');
    if (column.transform === 'log1p' && (column.range?.[0] ?? 0) <= -1) {
      complain('log1p needs a range above -1');
    }
    if (column.type !== 'number' && column.invalid === 'clip') complain('only numbers can be clipped');
    if (derived && column.source === undefined) complain('a text transform needs a source');
    if (column.categories !== undefined && new Set(column.categories).size !== column.categories.length) {
      complain('a category is listed twice');
    }
  });

export const tableSchema = z.strictObject({
  /** Whether the first line names the columns. */
  header: z.boolean(),
  /** Names of all cells by position: the layout without a header, and what a header must contain. */
  cells: z.array(columnName).min(1).max(SCHEMA_LIMITS.columns),
  /** Cell that says attack or not. */
  label: columnName,
  /** Values of the label cell that mean normal traffic. */
  normal: z.array(text(64)).min(1).max(16),
  /** Values that mean attack; left out: every other non-empty value. */
  attack: z.array(text(64)).min(1).max(256).optional(),
  /** Cell that names the kind of attack; may be the label cell. */
  attackType: columnName.optional(),
  /** Characters cut from the end of label and attack type. */
  trimLabel: text(4).optional(),
  /** Cells read and thrown away, because they leak the label or identify the laboratory. */
  drop: z.array(columnName).max(SCHEMA_LIMITS.columns),
  /** Cell with the time of a row, for splits by time; never a feature. */
  timeColumn: columnName.optional(),
  /** Cell texts that mean: no value. */
  missingText: z.array(z.string().max(16)).max(8),
  /** A file with one cell a line is a list of values of this cell; its label comes by option. */
  listCell: columnName.optional(),
});

export const windowsSchema = z.strictObject({
  /** Connections of one key that a window looks back on. */
  connections: z.number().int().min(2).max(1000),
  shortMs: z.number().positive().max(60_000),
  longMs: z.number().positive().max(3_600_000),
  /** Starts of one channel over which regularity is measured. */
  intervals: z.number().int().min(3).max(1000),
  /** Flows remembered over all keys; the oldest is forgotten first, and with it keys that have no other. */
  historyFlows: z.number().int().min(2).max(SCHEMA_LIMITS.historyFlows),
});

export const slidingWindowsSchema = z.strictObject({
  kind: z.literal('sliding'),
  /** Width of a bucket. The short window is the last 4 buckets of a key, the long one the last 4 spans of 8 buckets. */
  bucketMs: z.number().int().min(1000).max(60_000),
  /** Sources, and destinations, remembered; the one that was not seen for longest, about, makes room. Likewise below. */
  hosts: z.number().int().min(2).max(SCHEMA_LIMITS.windowKeys),
  pairs: z.number().int().min(2).max(SCHEMA_LIMITS.windowKeys),
  services: z.number().int().min(2).max(SCHEMA_LIMITS.windowKeys),
  destinationServices: z.number().int().min(2).max(SCHEMA_LIMITS.windowKeys),
  /** Keys that may estimate distinct values at a time; the others count up to 16 and no further. */
  sketches: z.number().int().min(1).max(SCHEMA_LIMITS.sketches),
});

/** The format of a schema's file. */
export const featureSchema = z
  .strictObject({
    v: z.literal([1, 2]),
    name: kebab,
    version: z.number().int().min(1).max(1_000_000),
    kind: z.enum(['flows', 'table']),
    about: text(SCHEMA_LIMITS.aboutLength),
    sourceKinds: z.array(kebab).min(1).max(16),
    columns: z.array(columnSchema).min(1).max(SCHEMA_LIMITS.columns),
    table: tableSchema.optional(),
    windows: z.union([windowsSchema, slidingWindowsSchema]).optional(),
  })
  .superRefine((schema, context) => {
    const complain = (message: string) => context.addIssue({ code: 'custom', message });
    if ((schema.kind === 'table') !== (schema.table !== undefined))
      complain('kind table and a table section');
    if ((schema.kind === 'flows') !== (schema.windows !== undefined)) complain('kind flows and windows');
    if (schema.v === 1) {
      if (schema.windows !== undefined && 'kind' in schema.windows)
        complain('sliding windows need version 2');
      if (schema.columns.some(({ invalid, missing }) => invalid === 'impute' || missing === 'impute')) {
        complain('the policy impute needs version 2');
      }
    }
    const names = new Set(schema.columns.map((column) => column.name));
    if (names.size !== schema.columns.length) complain('a column is named twice');
    for (const column of schema.columns) {
      const stranger = column.absentIn?.find((kind) => !schema.sourceKinds.includes(kind));
      if (stranger !== undefined)
        complain(`${column.name} is absent in ${stranger}, which is no source kind`);
      if (column.absentIn !== undefined && column.missing === 'refuse') {
        complain(`${column.name} is absent in a source kind, so missing must not be refuse`);
      }
    }
    const { table } = schema;
    if (table === undefined) return;
    const cells = new Set(table.cells);
    if (cells.size !== table.cells.length) complain('a cell is named twice');
    const used = new Set(schema.columns.map((column) => column.source ?? column.name));
    const apart = [table.label, table.attackType, table.timeColumn].filter((cell) => cell !== undefined);
    for (const cell of [...used, ...apart, ...table.drop, ...(table.listCell ? [table.listCell] : [])]) {
      if (!cells.has(cell)) complain(`${cell} is not among the cells`);
    }
    for (const cell of [...apart, ...table.drop]) {
      if (used.has(cell)) complain(`${cell} is set apart and must not be a feature`);
    }
    for (const cell of cells) {
      if (!used.has(cell) && !apart.includes(cell) && !table.drop.includes(cell)) {
        complain(`${cell} is neither a feature nor set apart nor dropped`);
      }
    }
  });
