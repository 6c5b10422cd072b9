import { execFile } from 'node:child_process';
import { appendFile, readFile, stat } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Clock } from '../base/index.ts';

/** One look at data that is kept for testing. */
export interface TestLook {
  readonly data: string;
  readonly seen: string;
}

const LOOKS = fileURLToPath(new URL('../../docs/evidence/test-looks.md', import.meta.url));

/**
 * Where looks are written when no file is named: the list of evidence, if this is a checkout of the project. Whoever
 * develops it must not be able to forget one.
 */
export async function defaultLooksFile(): Promise<string | undefined> {
  if (LOOKS.includes(`${sep}node_modules${sep}`)) return undefined;
  const exists = await stat(LOOKS).then(
    () => true,
    () => false,
  );
  return exists ? LOOKS : undefined;
}

/** Appends one line for a look. Nothing is ever decided from one, and the line says so. */
export async function recordTestLook(file: string, look: TestLook, clock: Clock): Promise<void> {
  const date = new Date(clock.now()).toISOString().slice(0, 10);
  const cells = [date, await commitOf(dirname(file)), look.data, look.seen, 'nothing'];
  await appendFile(file, `| ${cells.map((cell) => cell.replaceAll('|', '/')).join(' | ')} |\n`);
}

async function commitOf(folder: string): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)('git', ['rev-parse', '--short', 'HEAD'], { cwd: folder });
    return stdout.trim();
  } catch {
    const text = await readFile(join(folder, '../../package.json'), 'utf8').catch(() => '{}');
    return String((JSON.parse(text) as { version?: string }).version ?? 'unknown');
  }
}
