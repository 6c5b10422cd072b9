import type { TargetFile, Targets } from '@tufjs/models';
import { z } from 'zod';
import type { Digest } from '../../base/index.ts';
import { digestField } from '../gate-report.ts';
import { SIGNATURE_FILE, SIGNED_FILES } from '../manifest.ts';
import { isName, isVersion } from '../names.ts';
import { UpdateError } from './errors.ts';

/** What the metadata of each of a model's targets say about it, in their custom field. */
export interface ModelClaims {
  readonly name: string;
  readonly version: string;
  /** Of the plaintext weights. */
  readonly digest: Digest;
  readonly schemaId: Digest;
  /** Hexadecimal SHA-256 of the PEM of the key that signed the model. */
  readonly signer: string;
}

/** One model as signed metadata offer it. */
export interface OfferedModel {
  readonly claims: ModelClaims;
  /** The signing key's SubjectPublicKeyInfo as PEM; it stands in the signed list of keys. */
  readonly publicKeyPem: string;
  /** The targets by the names of an export's files. */
  readonly targets: ReadonlyMap<string, TargetFile>;
}

/** The field of the targets metadata in which the keys stand whose signatures over models count. */
export const KEYS_FIELD = 'x-ai-guardian';
/** What every export has, and nothing else. */
const EXPORT_FILES: readonly string[] = [...Object.values(SIGNED_FILES), SIGNATURE_FILE];

const CLAIMS = z.object({
  name: z.string().refine(isName),
  version: z.string().refine(isVersion),
  digest: digestField,
  schemaId: digestField,
  signer: z.string().regex(/^[0-9a-f]{64}$/),
});

const KEYS = z.object({
  v: z.literal(1),
  modelKeys: z
    .array(z.object({ hint: z.string().regex(/^[0-9a-f]{64}$/), publicKeyPem: z.string().max(4_096) }))
    .max(64),
});

/** The path of one of a model's files. */
export function modelTargetName(claims: Pick<ModelClaims, 'name' | 'version'>, file: string): string {
  return `${claims.name}/${claims.version}/${file}`;
}

/**
 * The models of verified targets metadata, in the order of their names; targets that are no models of ours are left
 * out. Throws `registry.update-model-mismatch` where a model's files do not speak of one model.
 */
export function readOfferedModels(targets: Targets): readonly OfferedModel[] {
  const keys = KEYS.safeParse(targets.unrecognizedFields[KEYS_FIELD]);
  if (!keys.success) return [];
  const pems = new Map(keys.data.modelKeys.map(({ hint, publicKeyPem }) => [hint, publicKeyPem]));
  const folders = new Map<string, Map<string, TargetFile>>();
  for (const [path, target] of Object.entries(targets.targets)) {
    const [name = '', version = '', file = '', ...rest] = path.split('/');
    if (!isName(name) || !isVersion(version) || !EXPORT_FILES.includes(file) || rest.length > 0) continue;
    const folder = `${name}/${version}`;
    folders.set(folder, (folders.get(folder) ?? new Map()).set(file, target));
  }
  return [...folders]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([folder, files]) => readModel(folder, files, pems));
}

function readModel(
  folder: string,
  files: ReadonlyMap<string, TargetFile>,
  pems: ReadonlyMap<string, string>,
): OfferedModel {
  const read = [...files.values()].map((target) => CLAIMS.safeParse(target.custom));
  const texts = new Set(read.map((each) => (each.success ? JSON.stringify(each.data) : '')));
  const claims = read[0]?.data;
  if (files.size !== EXPORT_FILES.length || texts.size !== 1 || claims === undefined) {
    throw mismatch(`expected ${folder} to be the files of an export that speak of one model`);
  }
  if (`${claims.name}/${claims.version}` !== folder) throw mismatch(`${folder} speaks of another model`);
  const publicKeyPem = pems.get(claims.signer);
  if (publicKeyPem === undefined)
    throw mismatch(`${folder} names a signing key that is not in the signed list`);
  return {
    claims: { ...claims, digest: claims.digest as Digest, schemaId: claims.schemaId as Digest },
    publicKeyPem,
    targets: files,
  };
}

function mismatch(message: string): UpdateError {
  return new UpdateError('registry.update-model-mismatch', message);
}
