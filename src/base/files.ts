import { randomBytes } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { BaseError } from './errors.ts';
import { faultPoint } from './fault-point.ts';

/** Makes a rename or a new entry in `folder` survive a power loss. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Whether a call of the file system failed for want of room: ENOSPC, and EDQUOT where a quota is used up. */
export function isDiskFull(error: unknown): boolean {
  if (error instanceof BaseError) return error.code === 'base.disk-full';
  return error instanceof Error && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT');
}

/**
 * Replaces `path` whole or not at all: temporary file in the same folder, fsync, rename, fsync of the folder.
 * When this returns, the content is durable. A crash leaves the old file, and perhaps a `.tmp-` file. Throws
 * `base.disk-full`, and then the old file stands.
 */
export async function writeFileAtomic(
  path: string,
  content: Uint8Array | string,
  mode = 0o600,
): Promise<void> {
  const folder = dirname(path);
  const temporary = join(folder, `.tmp-${basename(path)}-${randomBytes(6).toString('hex')}`);
  try {
    await writeNew(temporary, content, mode).catch((cause: unknown) => {
      if (!isDiskFull(cause)) throw cause;
      throw new BaseError('base.disk-full', `no room on the disk for ${basename(path)}`, { cause });
    });
    faultPoint('base.files.before-rename');
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  faultPoint('base.files.after-rename');
  await syncFolder(folder);
}

async function writeNew(path: string, content: Uint8Array | string, mode: number): Promise<void> {
  const handle = await open(path, 'wx', mode);
  try {
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle.close();
  }
}
