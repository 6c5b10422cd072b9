/** What a schema may hold at most; a schema is a file from outside. */
export const SCHEMA_LIMITS = {
  fileBytes: 1_048_576,
  columns: 512,
  categories: 1024,
  nameLength: 64,
  aboutLength: 400,
  historyFlows: 4_194_304,
  windowKeys: 1_048_576,
  sketches: 65_536,
} as const;

/** Transforms of a number. */
export const NUMBER_TRANSFORMS = ['none', 'log1p'] as const;

/** Numbers derived from a text (a domain name). */
export const TEXT_TRANSFORMS = [
  'length',
  'shannon-entropy',
  'digit-ratio',
  'vowel-ratio',
  'hyphen-ratio',
  'distinct-ratio',
  'max-consonant-run',
  'max-digit-run',
  'letter-digit-changes',
  'label-count',
  'longest-label-length',
  'registered-length',
  'suffix-length',
  'common-bigram-ratio',
] as const;

export type TextTransform = (typeof TEXT_TRANSFORMS)[number];

/** Whether a transform works on a number (and not on a text). */
export function isNumberTransform(
  transform: (typeof NUMBER_TRANSFORMS)[number] | TextTransform,
): transform is 'none' | 'log1p' {
  return transform === 'none' || transform === 'log1p';
}
