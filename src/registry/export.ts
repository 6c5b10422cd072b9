import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { lstat, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { type Bytes, type Milliseconds, syncFolder, writeFileAtomic } from '../base/index.ts';
import { RegistryError } from './errors.ts';
import { SIGNATURE_FILE, SIGNED_FILES } from './manifest.ts';
import { isSecondKey, SECOND_SIGNATURE_FILE } from './second-signature.ts';
import { type VerifiedModel, verifyModel } from './verify.ts';

/** Larger files are not read into memory. */
const MAX_FILE_BYTES: Bytes = 1 << 30;

/** Names of an export's files, sorted. */
const EXPORT_FILES: readonly string[] = [...Object.values(SIGNED_FILES), SIGNATURE_FILE].sort();

/** An export's files by name. */
export type ExportFiles = Readonly<Record<string, Uint8Array>>;

/**
 * Writes an export into a folder that does not exist yet; it appears whole or not at all.
 * Throws `registry.export-exists`.
 */
export async function writeExport(folder: string, files: ExportFiles): Promise<void> {
  const target = resolve(folder);
  if ((await lstat(target).catch(() => undefined)) !== undefined) {
    throw new RegistryError('registry.export-exists', 'expected a folder that does not exist yet');
  }
  const parent = dirname(target);
  await mkdir(parent, { recursive: true });
  const partial = join(parent, `.${basename(target)}.partial-${randomBytes(6).toString('hex')}`);
  await mkdir(partial, { mode: 0o700 });
  try {
    for (const [name, bytes] of Object.entries(files)) await writeFileAtomic(join(partial, name), bytes);
    await rename(partial, target);
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    throw error;
  }
  await syncFolder(parent);
}

/** What is trusted beside keys. */
export interface ExportTrust {
  /** PEM of CA certificates, one each: an export counts that was signed by certificate under one of them. */
  readonly rootCertificatesPem?: readonly string[];
  /** When certificates must be valid; now by default. */
  readonly at?: Milliseconds;
}

/**
 * Verifies an exported folder with nothing but trusted public keys (SPKI PEM) and root certificates. The folder must hold exactly the five
 * files, none of them a link. Throws `registry.*` of category security.
 */
export async function verifyExport(
  folder: string,
  trustedKeysPem: readonly string[],
  trust: ExportTrust = {},
): Promise<VerifiedModel> {
  return (await verifyExportFiles(await readExport(folder), trustedKeysPem, trust)).model;
}

/** The five files of an exported folder, not verified. Throws `registry.file-tampered` where it holds others. */
export async function readExport(folder: string): Promise<ExportFiles> {
  const names = await readdir(folder);
  checkFileNames(names);
  const files: Record<string, Uint8Array> = {};
  for (const name of names) files[name] = await readPlain(folder, name);
  return files;
}

/**
 * Verifies an export's files; `weights` is the copy whose digest was taken. A second signature is demanded where an
 * ML-DSA-65 key is among the trusted ones; else nothing could be said of it.
 */
export async function verifyExportFiles(
  files: ExportFiles,
  trustedKeysPem: readonly string[],
  { rootCertificatesPem = [], at }: ExportTrust = {},
): Promise<{ model: VerifiedModel; weights: Uint8Array }> {
  checkFileNames(Object.keys(files));
  const file = (name: string) => files[name] as Uint8Array;
  const second = trustedKeysPem.filter(isSecondKey).map((publicKeyPem) => ({ publicKeyPem }));
  return await verifyModel({
    signature: file(SIGNATURE_FILE),
    manifest: file(SIGNED_FILES.manifest),
    gates: file(SIGNED_FILES.gates),
    schema: file(SIGNED_FILES.schema),
    weights: { kind: 'plain', bytes: file(SIGNED_FILES.weights) },
    trusted: [
      ...trustedKeysPem.map((publicKeyPem) => ({ publicKeyPem })),
      ...rootCertificatesPem.map((rootCertificatePem) => ({ rootCertificatePem })),
    ],
    ...(at !== undefined && { at }),
    ...(second.length > 0 && {
      second: { bytes: files[SECOND_SIGNATURE_FILE], isRequired: true, trusted: second },
    }),
  });
}

function checkFileNames(names: readonly string[]): void {
  const found = names.filter((name) => name !== SECOND_SIGNATURE_FILE).sort();
  if (found.length !== EXPORT_FILES.length || found.some((name, i) => name !== EXPORT_FILES[i])) {
    throw new RegistryError(
      'registry.file-tampered',
      `expected exactly ${EXPORT_FILES.join(', ')} in the folder`,
    );
  }
}

async function readPlain(folder: string, name: string): Promise<Uint8Array> {
  const path = join(folder, name);
  if (!(await lstat(path)).isFile()) throw notPlain(name);
  const handle = await open(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0));
  try {
    const { size } = await handle.stat();
    if (size > MAX_FILE_BYTES) throw notPlain(name);
    return new Uint8Array(await handle.readFile());
  } finally {
    await handle.close();
  }
}

function notPlain(name: string): RegistryError {
  return new RegistryError('registry.file-tampered', `expected ${name} to be a plain file of at most 1 GiB`);
}
