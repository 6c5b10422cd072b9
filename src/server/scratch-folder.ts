import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';

/** Names that `withScratchFolder` gives. */
export const SCRATCH_FOLDER = /^\.scratch-/;

/** A folder below the state folder, for its owner alone, that is gone when `work` is done. */
export async function withScratchFolder<T>(
  stateFolder: string,
  work: (folder: string) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(stateFolder, '.scratch-'));
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
