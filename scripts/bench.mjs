import { runNamed } from './run-named.mjs';

/** `npm run bench -- NAME` runs bench/NAME.ts; without a name it lists what there is. */
process.exitCode = await runNamed('bench', 'bench', process.argv.slice(2));
