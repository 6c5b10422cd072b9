import { join } from 'node:path';
import { install } from './install.mjs';
import { bundledNode, ROOT, runForeground } from './runtime.mjs';

const args = process.argv.slice(2);
const installed = await install('run');
if (installed !== 0) {
  process.exitCode = installed;
} else {
  const main = join(ROOT, 'src/cli/main.ts');
  process.exitCode = await runForeground(bundledNode(), [main, ...(args.length === 0 ? ['demo'] : args)]);
}
