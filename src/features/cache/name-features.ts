import type { Bytes, Logger } from '../../base/index.ts';
import { TEXT_TRANSFORMS, type TextTransform } from '../schema-limits.ts';
import { deriveFromText } from '../text-transforms.ts';
import { FeatureCache } from './feature-cache.ts';

const POSITIONS = Object.fromEntries(TEXT_TRANSFORMS.map((name, index) => [name, index])) as Readonly<
  Record<TextTransform, number>
>;
/** The header of a typed array and its buffer. */
const ARRAY_BYTES: Bytes = 160;

/**
 * The numbers derived from domain names, kept by name: the same few names are asked for again and again, and deriving
 * all numbers of one takes much longer than finding them. They do not age; a changed schema or model empties the cache.
 */
export class NameFeatures {
  readonly cache: FeatureCache<Float64Array>;
  /** The columns of one event come one after another, with the same text. */
  #lastName: string | undefined;
  #last = new Float64Array(0);

  constructor({ budgetBytes, logger }: { readonly budgetBytes: Bytes; readonly logger: Logger }) {
    this.cache = new FeatureCache({
      name: 'names',
      ttlMs: Number.POSITIVE_INFINITY,
      budgetBytes,
      sizeOf: (numbers) => ARRAY_BYTES + numbers.byteLength,
      dependsOn: ['schema', 'model'],
      logger,
    });
  }

  /** As `deriveFromText`. */
  derive(name: string, transform: TextTransform): number {
    if (name !== this.#lastName) {
      this.#last = this.#numbersOf(name);
      this.#lastName = name;
    }
    return this.#last[POSITIONS[transform]] as number;
  }

  #numbersOf(name: string): Float64Array<ArrayBuffer> {
    const { known } = this.cache.read(name, 0);
    if (known?.value !== undefined) return known.value as Float64Array<ArrayBuffer>;
    const numbers = Float64Array.from(TEXT_TRANSFORMS, (transform) => deriveFromText(name, transform));
    this.cache.write(name, numbers, 0);
    return numbers;
  }
}
