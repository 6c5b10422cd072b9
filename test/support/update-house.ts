import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Clock, systemClock } from '../../src/base/index.ts';
import {
  mirrorRepository,
  type PublishUpdatesOptions,
  type RegistryParts,
  UpdateService,
} from '../../src/registry/index.ts';
import { type House, makeCandidate, openHouse } from './registry-fixture.ts';

/** A registry with an update service; `folder/repository` is what it serves. */
export interface UpdateHouse extends House {
  readonly updates: UpdateService;
  readonly repository: string;
  /** Publishes, and lays the repository out. */
  offer(options?: PublishUpdatesOptions): Promise<void>;
  root(version?: number): Uint8Array;
}

const ADA = { principal: 'ada' };
const BOB = { principal: 'bob' };

export async function openUpdateHouse(
  folder: string,
  clock: Clock = systemClock,
  parts: Partial<RegistryParts> = {},
): Promise<UpdateHouse> {
  const house = await openHouse(folder, clock, parts);
  const { registry, keys, log } = house;
  const updates = new UpdateService({ registry, keys, log, clock, folder: join(folder, 'updates') });
  const repository = join(folder, 'repository');
  return {
    ...house,
    updates,
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
