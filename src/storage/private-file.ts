import { closeSync, openSync } from 'node:fs';

/**
 * Makes an empty file of mode 0600 for SQLite, unless it exists. One that exists is not even opened: closing any
 * descriptor of a file drops the locks that this process holds on it (POSIX).
 */
export function makePrivateFile(path: string): void {
  try {
    closeSync(openSync(path, 'wx', 0o600));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}
