import { z } from 'zod';
import type { Digest } from '../base/index.ts';
import {
  type Container,
  decodeContainer,
  encodeContainer,
  type Section,
  type SectionType,
} from './container.ts';
import { BoostedModel, type BoostedModelParts, type DetectionModel } from './detection-model.ts';
import { ModelError } from './errors.ts';
import { checkStatistics, type FittedStatistics } from './statistics.ts';
import { checkEnsemble, type TreeEnsemble } from './tree-ensemble.ts';

/** Version written by `encodeModel`. */
export const MODEL_FORMAT_VERSION = 1;

const ENSEMBLE_TYPES = {
  roots: 'u32',
  child: 'u32',
  feature: 'u16',
  value: 'f32',
  flags: 'u8',
  block: 'u32',
  cover: 'u32',
  bitsets: 'u32',
} as const satisfies Record<keyof TreeEnsemble, SectionType>;

const STATISTIC_NAMES = ['quantiles', 'missing', 'frequencies', 'margins'] as const;

const word = z.string().min(1).max(256);
const count = z.int().min(0).max(0xffffffff);

const HEADER = z.strictObject({
  type: z.literal('boosted-trees'),
  schemaId: z.string().regex(/^sha256:[0-9a-f]{64}$/),
  sourceKinds: z.array(word).max(64),
  columns: z
    .array(z.strictObject({ name: word, categories: z.int().min(0).max(256) }))
    .min(1)
    .max(65_535),
  kinds: z.array(word).max(32_767),
  threshold: z.number().min(0).max(1),
  bias: z.number(),
  calibration: z.strictObject({
    kind: z.literal('platt'),
    slope: z.number().positive(),
    intercept: z.number(),
  }),
  kindStage: z.union([z.null(), z.strictObject({ biases: z.array(z.number()), treeCounts: z.array(count) })]),
  rows: count,
});

/** The bytes of a model, format version 1; the same model gives the same bytes. Throws models.malformed. */
export function encodeModel(model: DetectionModel): Uint8Array {
  if (!(model instanceof BoostedModel)) {
    throw new ModelError('models.malformed', 'only boosted models have a file format');
  }
  const { parts } = model;
  checkParts(parts);
  const { schemaId, sourceKinds, columns, kinds, threshold, bias, calibration, kindStage } = parts;
  const header = {
    type: 'boosted-trees',
    schemaId,
    sourceKinds,
    columns: columns.map(({ name, categories }) => ({ name, categories })),
    kinds,
    threshold,
    bias,
    calibration: { ...calibration },
    kindStage:
      kindStage === undefined ? null : { biases: kindStage.biases, treeCounts: kindStage.treeCounts },
    rows: parts.statistics.rows,
  };
  const parsed = HEADER.safeParse(header);
  if (!parsed.success) throw malformedHeader(parsed.error);
  return encodeContainer(MODEL_FORMAT_VERSION, header, [
    ...ensembleSections('detector', parts.detector),
    ...(kindStage === undefined ? [] : ensembleSections('kinds', kindStage.ensemble)),
    ...STATISTIC_NAMES.map(
      (name): Section => ({ name: `statistics.${name}`, dtype: 'f32', data: parts.statistics[name] }),
    ),
  ]);
}

/**
 * Reads a model file. Every length, index, range and tree shape is checked first, so that a hostile file is refused
 * and never loops or reads beyond its arrays. Throws models.malformed.
 */
export function decodeModel(bytes: Uint8Array): BoostedModel {
  const container = decodeContainer(bytes);
  if (container.version !== MODEL_FORMAT_VERSION) {
    throw new ModelError(
      'models.malformed',
      `expected version ${MODEL_FORMAT_VERSION}, got ${container.version}`,
    );
  }
  const parsed = HEADER.safeParse(container.header);
  if (!parsed.success) throw malformedHeader(parsed.error);
  const { type: _, rows, kindStage, ...header } = parsed.data;
  checkNames(container, kindStage !== null);
  const parts: BoostedModelParts = {
    ...header,
    schemaId: header.schemaId as Digest,
    detector: readEnsemble(container, 'detector'),
    ...(kindStage === null
      ? {}
      : { kindStage: { ...kindStage, ensemble: readEnsemble(container, 'kinds') } }),
    statistics: {
      rows,
      quantiles: read(container, 'statistics.quantiles', 'f32'),
      missing: read(container, 'statistics.missing', 'f32'),
      frequencies: read(container, 'statistics.frequencies', 'f32'),
      margins: read(container, 'statistics.margins', 'f32'),
    } satisfies FittedStatistics,
  };
  checkParts(parts);
  return new BoostedModel(parts);
}

/** What the header's schema cannot say: how the parts fit each other. */
function checkParts(parts: BoostedModelParts): void {
  const categories = parts.columns.map((column) => column.categories);
  if (new Set(parts.columns.map((column) => column.name)).size !== parts.columns.length) {
    throw new ModelError('models.malformed', 'two columns have one name');
  }
  checkEnsemble(parts.detector, categories);
  checkStatistics(parts.statistics, categories);
  const { kindStage, kinds } = parts;
  if (kindStage === undefined) {
    if (kinds.length > 0)
      throw new ModelError('models.malformed', 'kinds are named but nothing tells them apart');
    return;
  }
  checkEnsemble(kindStage.ensemble, categories);
  const trees = kindStage.treeCounts.reduce((sum, n) => sum + n, 0);
  if (
    kindStage.biases.length !== kinds.length ||
    kindStage.treeCounts.length !== kinds.length ||
    trees !== kindStage.ensemble.roots.length
  ) {
    throw new ModelError('models.malformed', 'the kind stage does not fit the kinds');
  }
}

function ensembleSections(prefix: string, ensemble: TreeEnsemble): Section[] {
  return Object.entries(ENSEMBLE_TYPES).map(([name, dtype]) => ({
    name: `${prefix}.${name}`,
    dtype,
    data: ensemble[name as keyof TreeEnsemble],
  }));
}

function readEnsemble(container: Container, prefix: string): TreeEnsemble {
  return {
    roots: read(container, `${prefix}.roots`, 'u32'),
    child: read(container, `${prefix}.child`, 'u32'),
    feature: read(container, `${prefix}.feature`, 'u16'),
    value: read(container, `${prefix}.value`, 'f32'),
    flags: read(container, `${prefix}.flags`, 'u8'),
    block: read(container, `${prefix}.block`, 'u32'),
    cover: read(container, `${prefix}.cover`, 'u32'),
    bitsets: read(container, `${prefix}.bitsets`, 'u32'),
  };
}

interface ArrayOf {
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
  readonly f32: Float32Array;
}

function read<T extends SectionType>(container: Container, name: string, dtype: T): ArrayOf[T] {
  const section = container.sections.get(name);
  if (section?.dtype !== dtype) {
    throw new ModelError('models.malformed', `expected a section ${name} of type ${dtype}`);
  }
  // The container made the array from this very dtype.
  return section.data as ArrayOf[T];
}

/** Sections must be the expected ones in the expected order, so that one model has one encoding. */
function checkNames(container: Container, hasKinds: boolean): void {
  const expected = [
    ...Object.keys(ENSEMBLE_TYPES).map((name) => `detector.${name}`),
    ...(hasKinds ? Object.keys(ENSEMBLE_TYPES).map((name) => `kinds.${name}`) : []),
    ...STATISTIC_NAMES.map((name) => `statistics.${name}`),
  ];
  const actual = [...container.sections.keys()];
  if (actual.length !== expected.length || actual.some((name, i) => name !== expected[i])) {
    throw new ModelError('models.malformed', 'the sections are not those of a boosted model, in their order');
  }
}

function malformedHeader(error: z.ZodError): ModelError {
  const [issue] = error.issues;
  return new ModelError('models.malformed', `header: ${issue?.path.join('.')}: ${issue?.message}`);
}
