import { open } from 'node:fs/promises';
import { AlertsError } from '../errors.ts';

const MIN_LENGTH = 32;
const MAX_BYTES = 4_096;

/**
 * Reads a secret that is shared with a receiver; the newline at its end is no part of it. Throws
 * `alerts.secret-unusable` for a file that others may read, and for one that is too short. No message repeats it.
 */
export async function readSecretFile(path: string): Promise<Buffer> {
  let file: Awaited<ReturnType<typeof open>>;
  try {
    file = await open(path, 'r');
  } catch (error) {
    const { code = 'unknown' } = error as NodeJS.ErrnoException;
    throw new AlertsError('alerts.secret-unusable', `${path}: ${code}`, { cause: error });
  }
  try {
    const { mode, size } = await file.stat();
    if ((mode & 0o077) !== 0) {
      throw new AlertsError(
        'alerts.secret-unusable',
        `${path}: expected it to be readable by its owner alone`,
      );
    }
    if (size > MAX_BYTES) throw new AlertsError('alerts.secret-unusable', `${path}: expected a short text`);
    const text = (await file.readFile('utf8')).replace(/\r?\n$/, '');
    if (text.length < MIN_LENGTH) {
      throw new AlertsError(
        'alerts.secret-unusable',
        `${path}: expected ${MIN_LENGTH} characters or more, got ${text.length}`,
      );
    }
    return Buffer.from(text, 'utf8');
  } finally {
    await file.close();
  }
}
