import { readFileSync, writeFileSync } from 'node:fs';
import { sumMargins } from '../../../src/models/index.ts';
import { encodeRows, fitBinning } from '../../../src/training/binning.ts';
import { boost } from '../../../src/training/boosting.ts';
import { resolveTrainingConfig } from '../../../src/training/config.ts';
import { flattenTrees } from '../../../src/training/flatten-trees.ts';
import type { ContenderRun } from './run.ts';

// One training run in a process of its own, so that its memory is its own. The argument is a ContenderRun.
const run = JSON.parse(process.argv[2] as string) as ContenderRun;
const { data, threads, rounds, leaves, out } = run;
const { rows, testRows, columns, classes, path } = data;
const file = readFileSync(`${path}.f32`);
const values = new Float32Array(file.buffer, file.byteOffset, (rows + testRows) * columns);
const labels = readFileSync(`${path}.u8`);
const numbers = new Array<number>(columns).fill(0);
const training = Uint32Array.from({ length: rows }, (_, r) => r);

const cpuSeconds = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};
let cpu = cpuSeconds();
const binning = fitBinning(values, columns, training, numbers, 256);
const binned = encodeRows(binning, values, columns, training);
const binningCpu = cpuSeconds() - cpu;
const config = resolveTrainingConfig({
  ...{ rounds, maxLeaves: leaves, learningRate: 0.1, minRowsPerLeaf: 20, l2: 0, patience: 0 },
  ...{
    rowFraction: 1,
    featureFraction: 1,
    treeRounds: leaves,
    gradientLevels: 2,
    leafSums: 'rounded',
    ...run.more,
  },
});
cpu = cpuSeconds();
const start = performance.now();
const boosted = await boost(
  { binned, labels: labels.subarray(0, rows) },
  { config, seed: 1, classes, threads },
);
const wall = (performance.now() - start) / 1000;
const used = cpuSeconds() - cpu;
const memory = process.resourceUsage().maxRSS / 1024;
// P of each class, or of class 1.
const outputs = boosted.bias.length;
const test = values.subarray(rows * columns);
const margins = Array.from(boosted.bias, (bias, k) =>
  sumMargins(
    flattenTrees(
      boosted.trees.filter((_, t) => t % outputs === k),
      binning,
    ),
    bias,
    test,
    testRows,
  ),
);
const probability = new Float64Array(testRows * outputs);
for (let r = 0; r < testRows; r++) {
  const of = margins.map((margin) => margin[r] as number);
  if (outputs === 1) probability[r] = 1 / (1 + Math.exp(-(of[0] as number)));
  else {
    const terms = of.map((m) => Math.exp(m - Math.max(...of)));
    const sum = terms.reduce((a, b) => a + b, 0);
    probability.set(
      terms.map((e) => e / sum),
      r * outputs,
    );
  }
}
writeFileSync(out, probability);
process.stdout.write(
  `${JSON.stringify({ wall, cpu: used, binningCpu, memoryMiB: memory, version: process.version })}\n`,
);
