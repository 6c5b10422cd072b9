import { StorageError } from './errors.ts';

/** Where a registry lives: a dataset in a pool, never the pool's own. */
const REGISTRY = /^[A-Za-z][A-Za-z0-9_.-]*(?:\/[A-Za-z0-9][A-Za-z0-9_.-]*)+$/;
const POOL = /^[A-Za-z][A-Za-z0-9_.-]*$/;
const LABEL = /^[a-z0-9][a-z0-9._-]*$/;
/** The same form as a model's name in the registry. */
const MODEL = /^[a-z][a-z0-9-]{0,62}$/;
/** OpenZFS allows 255 bytes with the snapshot's part. */
const MAX_DATASET_LENGTH = 120;
const MAX_LABEL_LENGTH = 100;

/**
 * Every name that reaches a ZFS program passes one of these, so that none reads as an option, a snapshot or another
 * dataset. They throw `storage.name-invalid`.
 */
export function checkDataset(dataset: string): void {
  if (dataset.length > MAX_DATASET_LENGTH || !REGISTRY.test(dataset) || dataset.includes('..')) {
    throw invalid('a dataset such as pool/registry', dataset);
  }
}

export function checkPool(pool: string): void {
  if (pool.length > MAX_DATASET_LENGTH || !POOL.test(pool)) throw invalid('the name of a pool', pool);
}

export function checkLabel(label: string): void {
  if (label.length > MAX_LABEL_LENGTH || !LABEL.test(label)) {
    throw invalid('lowercase letters, digits, dot, dash and underscore', label);
  }
}

export function checkMountpoint(path: string): void {
  if (path.length > 512 || !/^(?:\/[\w.@+-]+)+$/.test(path) || /\/\.\.?(?:\/|$)/.test(path)) {
    throw invalid('an absolute path of plain segments', path);
  }
}

/** The model whose dataset holds a blob: `models/flow/1.0.0/x` belongs to `flow`; other blobs to none. */
export function modelOfBlob(name: string): string | undefined {
  const [folder, model = '', ...rest] = name.split('/');
  return folder === 'models' && rest.length > 0 && MODEL.test(model) ? model : undefined;
}

export function isModelName(name: string): boolean {
  return MODEL.test(name);
}

export function poolOf(dataset: string): string {
  return dataset.split('/')[0] as string;
}

function invalid(expected: string, name: string): StorageError {
  return new StorageError(
    'storage.name-invalid',
    `expected ${expected}, got ${JSON.stringify(name.slice(0, 80))}`,
  );
}
