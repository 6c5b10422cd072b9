import type { Container, Section, SectionType } from './container.ts';
import { ModelError } from './errors.ts';
import type { TreeEnsemble } from './tree-ensemble.ts';

/** Arrays of an ensemble in their order in the file. */
export const ENSEMBLE_TYPES = {
  roots: 'u32',
  child: 'u32',
  feature: 'u16',
  value: 'f32',
  flags: 'u8',
  block: 'u32',
  cover: 'u32',
  bitsets: 'u32',
} as const satisfies Record<keyof TreeEnsemble, SectionType>;

interface ArrayOf {
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
  readonly f32: Float32Array;
}

export function ensembleSections(prefix: string, ensemble: TreeEnsemble): Section[] {
  return Object.entries(ENSEMBLE_TYPES).map(([name, dtype]) => ({
    name: `${prefix}.${name}`,
    dtype,
    data: ensemble[name as keyof TreeEnsemble],
  }));
}

/** Unchecked beyond the types of its arrays. Throws models.malformed. */
export function readEnsemble(container: Container, prefix: string): TreeEnsemble {
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

/** The section of this name and type. Throws models.malformed. */
export function read<T extends SectionType>(container: Container, name: string, dtype: T): ArrayOf[T] {
  const section = container.sections.get(name);
  if (section?.dtype !== dtype) {
    throw new ModelError('models.malformed', `expected a section ${name} of type ${dtype}`);
  }
  // The container made the array from this very dtype.
  return section.data as ArrayOf[T];
}
