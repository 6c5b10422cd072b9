import { racePromotions } from '../support/promote-race.ts';
import { openServedHouse } from '../support/served-guardian.ts';

/** The race of test/routes/promote-race.test.ts, 1,000 promotions long. */
const house = await openServedHouse();
try {
  const result = await racePromotions(house, 1_000);
  process.stdout.write(`${JSON.stringify({ type: 'campaign.result', name: 'promote', ...result })}\n`);
} finally {
  await house.close();
}
