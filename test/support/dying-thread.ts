import { BoostedModel } from '../../src/models/index.ts';

/** A thread of the inference pool that dies at a row whose first value is 666, and hangs at one of 777. */
const score = BoostedModel.prototype.score;
BoostedModel.prototype.score = function dying(values, rows, out) {
  if (values[0] === 666) process.exit(1);
  while (values[0] === 777);
  score.call(this, values, rows, out);
};
await import('../../src/inference/pool/pool-worker.ts');
