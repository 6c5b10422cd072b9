import { readdir, readFile, rename } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { faultPoint, syncFolder, writeFileAtomic } from '../base/index.ts';
import { StorageError } from './errors.ts';

/**
 * Takes the files of the log away from the writer before: the folder gets a name with this writer's token, so that no
 * path leads the other to it any more, and the files at the end of the log become copies, so that what the other has
 * open is not the log. What it wrote until then is in the copies; what it writes later is nowhere.
 *
 * `base` is the folder's name without a token. Returns the folder, which exists only where a log was kept before.
 * Throws `storage.fenced` where a later writer has taken it already. Whoever is cut short here leaves it to the next.
 */
export async function claimLogFolder(base: string, token: number): Promise<string> {
  const claimed = `${base}-${token}`;
  const newest = await findNewest(base);
  if (newest === undefined) return claimed;
  if (newest.token > token) {
    const message = `the log's folder has the token ${newest.token}, this writer ${token}`;
    throw new StorageError('storage.fenced', message);
  }
  if (newest.token !== token) await rename(newest.folder, claimed);
  await syncFolder(dirname(base));
  faultPoint('storage.log-folder.renamed');
  for (const kind of await readdir(join(claimed, 'tile')).catch(() => [])) {
    const last = await lastFile(join(claimed, 'tile', kind));
    if (last !== undefined) await writeFileAtomic(last, await readFile(last));
  }
  faultPoint('storage.log-folder.copied');
  return claimed;
}

/** A writer that was fenced off may have made a folder of its old name anew: the highest token counts. */
async function findNewest(base: string): Promise<{ folder: string; token: number } | undefined> {
  const prefix = `${basename(base)}-`;
  const names = await readdir(dirname(base));
  return names
    .filter(
      (name) =>
        name === basename(base) || (name.startsWith(prefix) && /^\d+$/.test(name.slice(prefix.length))),
    )
    .map((name) => ({ folder: join(dirname(base), name), token: Number(name.slice(prefix.length)) }))
    .reduce<{ folder: string; token: number } | undefined>(
      (best, each) => (best === undefined || each.token > best.token ? each : best),
      undefined,
    );
}

/** The last tile of a level: `x001/067` comes after `999`, since a folder is there only for what is beyond. */
async function lastFile(folder: string): Promise<string | undefined> {
  const found = (await readdir(folder, { withFileTypes: true })).filter(({ name }) => /^x?\d{3}$/.test(name));
  const folders = found.filter((each) => each.isDirectory()).map(({ name }) => name);
  const files = found.filter((each) => each.isFile()).map(({ name }) => name);
  const within = folders.sort().at(-1);
  if (within !== undefined) {
    const last = await lastFile(join(folder, within));
    if (last !== undefined) return last;
  }
  const last = files.sort().at(-1);
  return last === undefined ? undefined : join(folder, last);
}
