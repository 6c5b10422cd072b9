import { killRegistry } from '../support/kills.ts';

/** `kills [SEED] [KILLS]`: test/crash/kills.test.ts, 500 kills long, in six states beside each other. */
const [seed = 20_261_123, kills = 500] = process.argv.slice(2).map(Number);
const started = performance.now();
const result = await killRegistry({
  ...{ seed, kills, lanes: 6 },
  onKill: (done) => {
    if (done % 25 === 0) process.stderr.write(`${done} kills\n`);
  },
});
const seconds = Math.round((performance.now() - started) / 1000);
process.stdout.write(
  `${JSON.stringify({ type: 'campaign.result', name: 'kills', seed, ...result, seconds })}\n`,
);
