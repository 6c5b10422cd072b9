import { killTraining } from '../support/training-kills.ts';

/** `training-kills [SEED] [KILLS]`: test/crash/training-kills.test.ts, 200 kills long. */
const [seed = 20_261_123, kills = 200] = process.argv.slice(2).map(Number);
const started = performance.now();
const result = await killTraining({
  ...{ seed, kills },
  onKill: (done) => {
    if (done % 10 === 0) process.stderr.write(`${done} kills\n`);
  },
});
const seconds = Math.round((performance.now() - started) / 1000);
process.stdout.write(
  `${JSON.stringify({ type: 'campaign.result', name: 'training-kills', seed, ...result, seconds })}\n`,
);
