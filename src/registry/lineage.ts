import type { Digest } from '../base/index.ts';
import { canonicalJson, sha256 } from '../crypto/index.ts';
import type { RegistryContext } from './context.ts';
import { readRecord } from './records.ts';

/** One move of an alias on or off a version. */
export interface Succession {
  readonly alias: string;
  /** The version it replaced, or that replaced it. */
  readonly version: string;
  readonly time: string;
  /** Index of the move in the audit log. */
  readonly intent: number;
}

/** Where a version comes from and what it took the place of; told by signed manifests and the audit log alone. */
export interface Lineage {
  readonly name: string;
  readonly version: string;
  readonly digest: Digest;
  readonly createdAt: string;
  readonly author: string;
  /** The champion at the time of publication; absent for the first. */
  readonly parent?: { readonly version: string; readonly digest: Digest };
  /** The version published just before. */
  readonly predecessor?: string;
  /** Of the training data, the data the gates ran on, the schema and the training's configuration. */
  readonly data: {
    readonly training: Digest;
    readonly gates: Digest;
    readonly schema: Digest;
    readonly configuration: Digest;
  };
  readonly trainer: string;
  readonly seed: number;
  /** Index of the publication in the audit log. */
  readonly intent: number;
  readonly replaced: readonly Succession[];
  readonly replacedBy: readonly Succession[];
}

/** Throws what `readRecord` throws. */
export async function lineageOf(context: RegistryContext, name: string, version: string): Promise<Lineage> {
  const { publication, manifest, gates } = await readRecord(context, name, version);
  const { intent } = publication;
  const moves = context.index.allMoves(name);
  const champion = moves.filter((move) => move.alias === 'champion' && move.intent < intent).at(-1);
  const parent = champion === undefined ? undefined : context.index.publication(name, champion.version);
  const predecessor = [...context.index.versions(name)]
    .map((each) => context.index.publication(name, each))
    .filter((each) => each !== undefined && each.intent < intent)
    .reduce((latest, each) => ((each?.intent ?? -1) > (latest?.intent ?? -1) ? each : latest), undefined);
  const succession = (isOn: boolean): Succession[] =>
    moves.flatMap(({ alias, version: to, previous, time, intent: moved }) => {
      if (previous === undefined || to === previous || (isOn ? to : previous) !== version) return [];
      return [{ alias, version: isOn ? previous : to, time, intent: moved }];
    });
  return {
    name,
    version,
    digest: manifest.weights.digest,
    createdAt: manifest.createdAt,
    author: manifest.author,
    ...(parent === undefined ? {} : { parent: { version: parent.version, digest: parent.digest } }),
    ...(predecessor === undefined ? {} : { predecessor: predecessor.version }),
    data: {
      training: manifest.dataDigest,
      gates: gates.dataDigest,
      schema: manifest.schemaId,
      configuration: sha256(canonicalJson(manifest.configuration)),
    },
    trainer: manifest.trainer,
    seed: manifest.seed,
    intent,
    replaced: succession(true),
    replacedBy: succession(false),
  };
}
