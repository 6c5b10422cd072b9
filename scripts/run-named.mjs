import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { install } from './install.mjs';
import { bundledNode, ROOT, runForeground } from './runtime.mjs';

/** Runs FOLDER/NAME.ts on the bundled Node with the arguments that follow the name; resolves to the exit code. */
export async function runNamed(kind, folder, [name, ...rest]) {
  const file = join(ROOT, folder, `${name}.ts`);
  if (name === undefined || !/^[a-z][a-z0-9-]*$/.test(name) || !existsSync(file)) {
    process.stderr.write(`usage: npm run ${kind} -- NAME, where NAME is one of:\n${names(folder)}`);
    return 2;
  }
  const prepared = await install('test');
  if (prepared !== 0) return prepared;
  return runForeground(bundledNode(), ['--expose-gc', file, ...rest], {
    cwd: ROOT,
    env: { ...process.env, TZ: 'UTC', LC_ALL: 'C.UTF-8' },
  });
}

/** Tests that stand beside them are not named. */
function names(folder) {
  const path = join(ROOT, folder);
  const files = existsSync(path) ? readdirSync(path) : [];
  return files
    .filter((file) => /^[a-z][a-z0-9-]*\.ts$/.test(file) && !file.endsWith('.test.ts'))
    .map((file) => `  ${file.slice(0, -3)}\n`)
    .join('');
}
