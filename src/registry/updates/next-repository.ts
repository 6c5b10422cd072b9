import { createHash } from 'node:crypto';
import { Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp } from '@tufjs/models';
import type { Milliseconds } from '../../base/index.ts';
import { canonicalJson } from '../../crypto/index.ts';
import { UpdateError } from './errors.ts';
import { KEYS_FIELD, type ModelClaims, modelTargetName } from './offered-model.ts';
import {
  type AnyMetadata,
  signMetadata,
  type UpdateRole,
  type UpdateSigner,
  type UpdateSigners,
} from './update-keys.ts';

/** How long each role's metadata are good for. */
export interface RepositoryExpiry {
  readonly rootMs: Milliseconds;
  readonly targetsMs: Milliseconds;
  readonly snapshotMs: Milliseconds;
  readonly timestampMs: Milliseconds;
}

/** Of the TUF specification that is followed. */
const SPEC_VERSION = '1.0.31';
const DAY: Milliseconds = 86_400_000;

/** A client that is held back notices after a week at the latest. */
export const DEFAULT_EXPIRY: RepositoryExpiry = {
  rootMs: 365 * DAY,
  targetsMs: 90 * DAY,
  snapshotMs: 14 * DAY,
  timestampMs: 7 * DAY,
};

/** A model to offer: what is said of it and the files of its export. */
export interface ModelToOffer {
  readonly claims: ModelClaims;
  readonly files: Readonly<Record<string, Uint8Array>>;
}

/** The metadata in force of a repository, verified. */
export interface RepositoryState {
  readonly root: Metadata<Root>;
  readonly targets: Metadata<Targets>;
  readonly snapshot: Metadata<Snapshot>;
  readonly timestamp: Metadata<Timestamp>;
}

export type RepositoryVersions = Readonly<Record<UpdateRole, number>>;

export interface NextRepository {
  /** New metadata files by name, in the order in which they must become durable: the timestamp last. */
  readonly files: readonly (readonly [name: string, bytes: Uint8Array])[];
  /** In force once all files are written. */
  readonly versions: RepositoryVersions;
}

export interface NextOptions {
  /** Root chain's last link alone where a first publication was cut short. */
  readonly previous: Partial<RepositoryState>;
  readonly models: readonly ModelToOffer[];
  /** Keys whose signatures over models count. */
  readonly modelKeys: readonly { readonly hint: string; readonly publicKeyPem: string }[];
  readonly signers: UpdateSigners;
  readonly expiry: RepositoryExpiry;
  readonly now: Milliseconds;
}

/**
 * The metadata that follow upon the previous ones. A role gets a new version where its content or a key changed or half
 * of its time is over; the timestamp always does. Versions go up by one. Throws `registry.update-root-lost` where the
 * previous root's keys cannot sign the next one.
 */
export async function nextRepository(options: NextOptions): Promise<NextRepository> {
  const { previous, signers, expiry, now } = options;
  const files: (readonly [string, Uint8Array])[] = [];
  const isDue = (old: AnyMetadata | undefined, lifeMs: Milliseconds): boolean =>
    old === undefined || Date.parse(old.signed.expires) - now < lifeMs / 2;
  const common = (old: AnyMetadata | undefined, lifeMs: Milliseconds) => ({
    specVersion: SPEC_VERSION,
    version: (old?.signed.version ?? 0) + 1,
    expires: expiresAt(now + lifeMs),
  });

  let root = previous.root;
  if (root === undefined || isDue(root, expiry.rootMs) || !hasKeys(root.signed, signers)) {
    const next = new Metadata(rootWith(common(root, expiry.rootMs), signers));
    const bytes = await signMetadata(next, signers.root);
    checkChain(root, next);
    files.push([`${next.signed.version}.root.json`, bytes]);
    root = next;
  }

  const offered = targetsWith(common(previous.targets, expiry.targetsMs), options);
  let targets = previous.targets;
  if (
    targets === undefined ||
    isDue(targets, expiry.targetsMs) ||
    !isSignedBy(targets, signers.targets) ||
    contentOf(targets.signed) !== contentOf(offered)
  ) {
    targets = new Metadata(offered);
    files.push([`${offered.version}.targets.json`, await signMetadata(targets, signers.targets)]);
  }
  const targetsVersion = targets.signed.version;

  let snapshot = previous.snapshot;
  if (
    snapshot === undefined ||
    isDue(snapshot, expiry.snapshotMs) ||
    !isSignedBy(snapshot, signers.snapshot) ||
    snapshot.signed.meta['targets.json']?.version !== targetsVersion
  ) {
    const meta = {
      'targets.json': metaOf(targetsVersion, files.at(-1), 'targets') ?? copyMeta(snapshot, targetsVersion),
    };
    snapshot = new Metadata(new Snapshot({ ...common(previous.snapshot, expiry.snapshotMs), meta }));
    files.push([`${snapshot.signed.version}.snapshot.json`, await signMetadata(snapshot, signers.snapshot)]);
  }
  const snapshotVersion = snapshot.signed.version;

  const snapshotMeta =
    metaOf(snapshotVersion, files.at(-1), 'snapshot') ??
    previous.timestamp?.signed.snapshotMeta ??
    new MetaFile({ version: snapshotVersion });
  const timestamp = new Metadata(
    new Timestamp({ ...common(previous.timestamp, expiry.timestampMs), snapshotMeta }),
  );
  files.push(['timestamp.json', await signMetadata(timestamp, signers.timestamp)]);

  return {
    files,
    versions: {
      root: root.signed.version,
      targets: targetsVersion,
      snapshot: snapshotVersion,
      timestamp: timestamp.signed.version,
    },
  };
}

interface CommonFields {
  readonly specVersion: string;
  readonly version: number;
  readonly expires: string;
}

/** RFC 3339 in whole seconds, the only form that every client reads. */
function expiresAt(ms: Milliseconds): string {
  return new Date(ms).toISOString().replace(/\.\d{3}Z$/, 'Z');
}

function rootWith(common: CommonFields, signers: UpdateSigners): Root {
  const root = new Root({ ...common, consistentSnapshot: true });
  for (const [role, each] of Object.entries(signers)) for (const { key } of each) root.addKey(key, role);
  return root;
}

function targetsWith(common: CommonFields, { models, modelKeys }: NextOptions): Targets {
  const keys = { v: 1, modelKeys: modelKeys.map(({ hint, publicKeyPem }) => ({ hint, publicKeyPem })) };
  const targets = new Targets({ ...common, unrecognizedFields: { [KEYS_FIELD]: keys } });
  for (const { claims, files } of models) {
    for (const [file, bytes] of Object.entries(files)) {
      targets.addTarget(
        new TargetFile({
          path: modelTargetName(claims, file),
          length: bytes.length,
          hashes: { sha256: createHash('sha256').update(bytes).digest('hex') },
          unrecognizedFields: { custom: { ...claims } },
        }),
      );
    }
  }
  return targets;
}

/** The previous root must sign the next, by a key that still signs. */
function checkChain(previous: Metadata<Root> | undefined, next: Metadata<Root>): void {
  try {
    (previous ?? next).verifyDelegate('root', next);
  } catch (cause) {
    throw new UpdateError(
      'registry.update-root-lost',
      'every key of the published root was rotated since it was signed',
      { cause },
    );
  }
}

function hasKeys(root: Root, signers: UpdateSigners): boolean {
  return Object.entries(signers).every(([role, each]) => {
    const listed = root.roles[role]?.keyIDs ?? [];
    return listed.length === each.length && each.every(({ key }) => listed.includes(key.keyID));
  });
}

function isSignedBy(metadata: AnyMetadata, signers: readonly UpdateSigner[]): boolean {
  return signers.every(({ key }) => metadata.signatures[key.keyID] !== undefined);
}

function contentOf(targets: Targets): string {
  const { version: _, expires: __, ...content } = targets.toJSON();
  return canonicalJson(content);
}

/** Version, length and digest of a file that was just made, where it is the role's. */
function metaOf(
  version: number,
  made: readonly [string, Uint8Array] | undefined,
  role: 'targets' | 'snapshot',
): MetaFile | undefined {
  if (made?.[0] !== `${version}.${role}.json`) return undefined;
  const sha256 = createHash('sha256').update(made[1]).digest('hex');
  return new MetaFile({ version, length: made[1].length, hashes: { sha256 } });
}

function copyMeta(snapshot: Metadata<Snapshot> | undefined, version: number): MetaFile {
  const before = snapshot?.signed.meta['targets.json'];
  return before?.version === version ? before : new MetaFile({ version });
}
