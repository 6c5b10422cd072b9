import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Clock, systemClock } from '../../src/base/index.ts';
import {
  type ImportModel,
  mirrorRepository,
  type PublishUpdatesOptions,
  UpdateService,
  verifyExport,
} from '../../src/registry/index.ts';
import { type House, makeCandidate, openHouse } from './registry-fixture.ts';

/** A registry with an update service; `folder/repository` is what it serves. */
export interface UpdateHouse extends House {
  readonly updates: UpdateService;
  /** Folders' verified models that the import was called with, as `name@version`. */
  readonly imported: string[];
  readonly repository: string;
  /** Publishes, and lays the repository out. */
  offer(options?: PublishUpdatesOptions): Promise<void>;
  root(version?: number): Uint8Array;
}

const ADA = { principal: 'ada' };
const BOB = { principal: 'bob' };

export async function openUpdateHouse(
  folder: string,
  options: { readonly clock?: Clock; readonly importModel?: ImportModel } = {},
): Promise<UpdateHouse> {
  const { clock = systemClock } = options;
  const house = await openHouse(folder, clock);
  const imported: string[] = [];
  const importModel: ImportModel = async (exported, keys, by) => {
    const { name, version } = await verifyExport(exported, keys);
    imported.push(`${name}@${version}`);
    return (await options.importModel?.(exported, keys, by)) ?? { version };
  };
  const { registry, keys, log } = house;
  const updates = new UpdateService({
    registry,
    keys,
    log,
    clock,
    folder: join(folder, 'updates'),
    importModel,
  });
  const repository = join(folder, 'repository');
  return {
    ...house,
    updates,
    imported,
    repository,
    offer: async (chosen = {}) => {
      mkdirSync(repository, { recursive: true });
      await mirrorRepository(repository, await updates.publish(chosen, ADA));
    },
    root: (version = 1) => readFileSync(join(repository, 'metadata', `${version}.root.json`)),
  };
}

/** Publishes a candidate and makes it the champion; resolves to its version. */
export async function addChampion(house: House, seed = 1, name = 'flow'): Promise<string> {
  const { version } = await house.registry.publish(makeCandidate({ seed, name }), ADA);
  await house.registry.promote(name, version, 'champion', BOB);
  return version;
}
