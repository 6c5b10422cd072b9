import { loadAndUnload } from '../support/load-cycles.ts';
import { openServedHouse } from '../support/served-guardian.ts';

/** `npm run campaign -- load-unload [cycles]`: a model comes and goes; memory must stay where it was. */
const house = await openServedHouse();
try {
  const result = await loadAndUnload(house, Number(process.argv[2] ?? 10_000), 20);
  process.stdout.write(`${JSON.stringify({ type: 'campaign.result', name: 'load-unload', ...result })}\n`);
} finally {
  await house.close();
}
