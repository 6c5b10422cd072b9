import { z } from 'zod';
import type { Container, Section, SectionType } from '../container.ts';
import { ENSEMBLE_TYPES, ensembleSections, read, readEnsemble } from '../model-sections.ts';
import { NOVELTY_DETECTORS, type NoveltyDetector, type NoveltyParts } from './novelty-detectors.ts';
import type { ScoreTail } from './score-tail.ts';

const eachDetector = <T extends z.ZodType>(of: T) =>
  z.strictObject({ distance: of, isolation: of, reconstruction: of });
const size = z.int().min(1).max(0xffff);

/** What a model's header says of its detectors; `checkNovelty` says the rest. */
export const NOVELTY_HEADER = z.strictObject({
  weights: eachDetector(z.number()),
  slopes: eachDetector(z.number()),
  cap: z.number(),
  novelDistance: z.number(),
  /** Widths of the autoencoder from its input to its output. */
  widths: z.array(size).min(2).max(16),
  attackNames: z.array(z.string().min(1).max(256)).max(0xffff),
});

export type NoveltyHeader = z.output<typeof NOVELTY_HEADER>;

export function noveltyHeader({ weights, tails, cap, novelDistance, autoencoder, attacks }: NoveltyParts) {
  return {
    weights: { ...weights },
    slopes: perDetector((detector) => tails[detector].slope),
    cap,
    novelDistance,
    widths: [autoencoder[0]?.inputs ?? 0, ...autoencoder.map(({ outputs }) => outputs)],
    attackNames: attacks.names,
  };
}

export function noveltySections(parts: NoveltyParts): Section[] {
  const { encoding, normals, attacks, forest, autoencoder, tails } = parts;
  const section = (name: string, dtype: SectionType, data: Section['data']): Section => ({
    name: `novelty.${name}`,
    dtype,
    data,
  });
  return [
    section('means', 'f32', encoding.means),
    section('scales', 'f32', encoding.scales),
    section('slots', 'u16', encoding.slots),
    section('slotCounts', 'u16', encoding.slotCounts),
    section('normals', 'f32', normals),
    section('attacks', 'f32', attacks.points),
    section('classes', 'u16', attacks.classes),
    ...ensembleSections('novelty.forest', forest),
    ...autoencoder.flatMap(({ weights, biases }, l) => [
      section(`layer${l}.weights`, 'f32', weights),
      section(`layer${l}.biases`, 'f32', biases),
    ]),
    ...NOVELTY_DETECTORS.flatMap((detector) => [
      section(`${detector}.scores`, 'f32', tails[detector].scores),
      section(`${detector}.levels`, 'f32', tails[detector].levels),
    ]),
  ];
}

/** In the order of `noveltySections`. */
export function noveltySectionNames({ widths }: NoveltyHeader): string[] {
  return [
    ...['means', 'scales', 'slots', 'slotCounts', 'normals', 'attacks', 'classes'],
    ...Object.keys(ENSEMBLE_TYPES).map((name) => `forest.${name}`),
    ...widths.slice(1).flatMap((_, l) => [`layer${l}.weights`, `layer${l}.biases`]),
    ...NOVELTY_DETECTORS.flatMap((detector) => [`${detector}.scores`, `${detector}.levels`]),
  ].map((name) => `novelty.${name}`);
}

/** Unchecked beyond the types of its arrays. Throws models.malformed. */
export function readNovelty(container: Container, header: NoveltyHeader): NoveltyParts {
  const f32 = (name: string) => read(container, `novelty.${name}`, 'f32');
  const u16 = (name: string) => read(container, `novelty.${name}`, 'u16');
  const { widths, slopes, attackNames, ...numbers } = header;
  return {
    ...numbers,
    encoding: {
      means: f32('means'),
      scales: f32('scales'),
      slots: u16('slots'),
      slotCounts: u16('slotCounts'),
    },
    normals: f32('normals'),
    attacks: { points: f32('attacks'), classes: u16('classes'), names: attackNames },
    forest: readEnsemble(container, 'novelty.forest'),
    autoencoder: widths.slice(1).map((outputs, l) => ({
      inputs: widths[l] as number,
      outputs,
      weights: f32(`layer${l}.weights`),
      biases: f32(`layer${l}.biases`),
    })),
    tails: perDetector(
      (detector): ScoreTail => ({
        scores: f32(`${detector}.scores`),
        levels: f32(`${detector}.levels`),
        slope: slopes[detector],
      }),
    ),
  };
}

function perDetector<T>(of: (detector: NoveltyDetector) => T): Record<NoveltyDetector, T> {
  return { distance: of('distance'), isolation: of('isolation'), reconstruction: of('reconstruction') };
}
