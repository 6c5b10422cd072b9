import { test } from 'node:test';
import { racePromotions } from '../support/promote-race.ts';
import { openServedHouse } from '../support/served-guardian.ts';

test('two clients promote at once, 200 times: one order, no gap, and the last one serves', async (t) => {
  const house = await openServedHouse();
  try {
    const { firstOfRound } = await racePromotions(house, 200);
    t.diagnostic(`first of a round: ${firstOfRound.join(' and ')} times`);
  } finally {
    await house.close();
  }
});
