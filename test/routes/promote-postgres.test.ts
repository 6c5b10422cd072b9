import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { requirePostgres } from '../support/postgres.ts';
import { racePostgres } from '../support/postgres-race.ts';

/** In memory where there is such a place: what a crash leaves on a disk is shown elsewhere. */
const MEMORY = '/dev/shm';

test('two servers on one PostgreSQL promote at once, 200 times: one wins each, and none that was fenced off', async (t) => {
  if (!requirePostgres(t)) return;
  const result = await racePostgres({
    rounds: 200,
    stops: 2,
    ...(existsSync(MEMORY) && { place: MEMORY }),
  });
  t.diagnostic(JSON.stringify(result));
});
