import { z } from 'zod';
import type { Digest } from '../base/index.ts';
import { type Container, decodeContainer, encodeContainer, type Section } from './container.ts';
import {
  BoostedModel,
  type BoostedModelParts,
  type DetectionModel,
  OPERATING_POINTS,
} from './detection-model.ts';
import { ModelError } from './errors.ts';
import { CALIBRATION_FIELD, DETECTOR_FIELDS, word } from './header-fields.ts';
import { checkNovelty } from './hybrid/novelty-detectors.ts';
import {
  NOVELTY_HEADER,
  noveltyHeader,
  noveltySectionNames,
  noveltySections,
  readNovelty,
} from './hybrid/novelty-sections.ts';
import { ENSEMBLE_TYPES, ensembleSections, read, readEnsemble } from './model-sections.ts';
import { checkStatistics, type FittedStatistics } from './statistics.ts';
import { checkEnsemble } from './tree-ensemble.ts';

/** Version of a model with novelty detectors; one of trees alone is still written as version 1. */
export const MODEL_FORMAT_VERSION = 2;
const TREES_VERSION = 1;

const STATISTIC_NAMES = ['quantiles', 'missing', 'frequencies', 'margins'] as const;

const count = z.int().min(0).max(0xffffffff);

const HEADER = z.strictObject({
  type: z.literal('boosted-trees'),
  ...DETECTOR_FIELDS,
  kinds: z.array(word).max(32_767),
  bias: z.number(),
  calibration: CALIBRATION_FIELD,
  kindStage: z.union([z.null(), z.strictObject({ biases: z.array(z.number()), treeCounts: z.array(count) })]),
  rows: count,
});

const HYBRID_HEADER = HEADER.extend({
  type: z.literal('hybrid'),
  novelty: NOVELTY_HEADER,
  operatingPoints: z
    .array(
      z.strictObject({
        name: z.enum(OPERATING_POINTS),
        threshold: z.number().min(0).max(1),
        nominalFpr: z.number().min(0).max(1),
      }),
    )
    .max(OPERATING_POINTS.length),
});

const READ_HEADER = z.discriminatedUnion('type', [HEADER, HYBRID_HEADER]);

/**
 * The bytes of a model: format version 1 for trees alone, 2 with novelty detectors. The same model gives the same bytes.
 * Throws models.malformed.
 */
export function encodeModel(model: DetectionModel): Uint8Array {
  if (!(model instanceof BoostedModel)) {
    throw new ModelError('models.malformed', 'only boosted models have a file format');
  }
  const { parts } = model;
  checkParts(parts);
  const { schemaId, sourceKinds, columns, kinds, threshold, bias, calibration, kindStage, novelty } = parts;
  const trees = {
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
  const header =
    novelty === undefined
      ? { type: 'boosted-trees', ...trees }
      : {
          type: 'hybrid',
          ...trees,
          novelty: noveltyHeader(novelty),
          operatingPoints: (parts.operatingPoints ?? []).map((point) => ({ ...point })),
        };
  const parsed = READ_HEADER.safeParse(header);
  if (!parsed.success) throw malformedHeader(parsed.error);
  const version = novelty === undefined ? TREES_VERSION : MODEL_FORMAT_VERSION;
  return encodeContainer(version, header, [
    ...ensembleSections('detector', parts.detector),
    ...(kindStage === undefined ? [] : ensembleSections('kinds', kindStage.ensemble)),
    ...STATISTIC_NAMES.map(
      (name): Section => ({ name: `statistics.${name}`, dtype: 'f32', data: parts.statistics[name] }),
    ),
    ...(novelty === undefined ? [] : noveltySections(novelty)),
  ]);
}

/**
 * Reads a model file. Every length, index, range and tree shape is checked first, so that a hostile file is refused
 * and never loops or reads beyond its arrays. Throws models.malformed.
 */
export function decodeModel(bytes: Uint8Array): BoostedModel {
  const container = decodeContainer(bytes);
  const { version } = container;
  if (version !== TREES_VERSION && version !== MODEL_FORMAT_VERSION) {
    throw new ModelError(
      'models.malformed',
      `expected version ${TREES_VERSION} or ${MODEL_FORMAT_VERSION}, got ${version}`,
    );
  }
  const parsed = READ_HEADER.safeParse(container.header);
  if (!parsed.success) throw malformedHeader(parsed.error);
  const isHybrid = parsed.data.type === 'hybrid';
  if (isHybrid !== (version === MODEL_FORMAT_VERSION)) {
    throw new ModelError('models.malformed', `a model of type ${parsed.data.type} in version ${version}`);
  }
  const { type: _, rows, kindStage, ...rest } = parsed.data;
  const { novelty, ...header } = 'novelty' in rest ? rest : { ...rest, novelty: undefined };
  checkNames(container, kindStage !== null, novelty === undefined ? [] : noveltySectionNames(novelty));
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
    ...(novelty !== undefined && { novelty: readNovelty(container, novelty) }),
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
  const { kindStage, kinds, novelty, operatingPoints } = parts;
  if (novelty !== undefined) checkNovelty(novelty, categories);
  else if (operatingPoints !== undefined) {
    throw new ModelError('models.malformed', 'trees alone have one threshold, no operating points');
  }
  const points = operatingPoints ?? [];
  if (new Set(points.map(({ name }) => name)).size !== points.length) {
    throw new ModelError('models.malformed', 'two operating points have one name');
  }
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

/** Sections must be the expected ones in the expected order, so that one model has one encoding. */
function checkNames(container: Container, hasKinds: boolean, more: readonly string[]): void {
  const expected = [
    ...Object.keys(ENSEMBLE_TYPES).map((name) => `detector.${name}`),
    ...(hasKinds ? Object.keys(ENSEMBLE_TYPES).map((name) => `kinds.${name}`) : []),
    ...STATISTIC_NAMES.map((name) => `statistics.${name}`),
    ...more,
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
