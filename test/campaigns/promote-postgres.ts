import { parseArgs } from 'node:util';
import { racePostgres } from '../support/postgres-race.ts';

/**
 * Two servers on one PostgreSQL: 1,000 rounds in which both try to promote, then 50 writers that are stopped in the
 * middle of their work and woken after the other has taken over. `--rounds N`, `--stops N`, `--seed N`, `--place FOLDER`.
 */
const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '1000' },
    stops: { type: 'string', default: '50' },
    seed: { type: 'string', default: '1' },
    place: { type: 'string' },
  },
});

const result = await racePostgres({
  rounds: Number(values.rounds),
  stops: Number(values.stops),
  seed: Number(values.seed),
  ...(values.place !== undefined && { place: values.place }),
  onProgress: (text) => process.stderr.write(`${text}\n`),
});
process.stdout.write(
  `${JSON.stringify({ type: 'campaign.result', campaign: 'promote-postgres', ...result })}\n`,
);
