import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/**
 * Whether a program is on the path. Where it is not, the test is marked as skipped, or fails under CI=true;
 * the caller returns at once on `false`.
 */
export function requireTool(t: TestContext, name: string): boolean {
  if (toolPath(name) !== undefined) return true;
  return miss(t, `needs the program ${name}`);
}

/**
 * The full path of a file or folder of the shared test data. Where it is absent, the test is marked as
 * skipped, or fails under CI=true; the caller returns at once on `undefined`.
 */
export function requireData(t: TestContext, relPath: string): string | undefined {
  const path = sharedDataPath(relPath);
  if (path === undefined) miss(t, `needs the data ${relPath} (folder: GUARDIAN_DATA, else ../shared/data)`);
  return path;
}

/** The full path of a file or folder of the shared test data, or undefined where it is absent. */
export function sharedDataPath(relPath: string): string | undefined {
  const path = join(process.env.GUARDIAN_DATA ?? join(ROOT, '../shared/data'), relPath);
  return existsSync(path) ? path : undefined;
}

/** The full path of a program, searched in PATH and in the folders for system programs. */
export function toolPath(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

/** Marks the test as skipped, or fails it under CI=true; the caller returns at once. */
export function miss(t: TestContext, reason: string): false {
  if (process.env.CI === 'true') throw new Error(`${reason}, and CI=true allows no skip`);
  t.skip(reason);
  return false;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
