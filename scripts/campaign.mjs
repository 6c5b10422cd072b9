import { runNamed } from './run-named.mjs';

/** `npm run campaign -- NAME` runs test/campaigns/NAME.ts; without a name it lists what there is. */
process.exitCode = await runNamed('campaign', 'test/campaigns', process.argv.slice(2));
