import { SeededRandom } from '../src/base/index.ts';
import { gradientLength, newNetwork, packNetwork } from '../src/training/hybrid/network-gradients.ts';
import { NetworkKernel } from '../src/training/hybrid/network-kernel.ts';
import { gradientSums } from '../test/twins/plain-dense.ts';
import { reportBench } from './support/report.ts';

/** Gradient sums of the autoencoder over batches of 128 rows: the kernel against its plain form, CPU a row. */
const BATCH = 128;
const WIDTHS = [60, 120];

const rows: Record<string, string | number>[] = [];
const ratios: Record<string, number> = {};
for (const width of WIDTHS) {
  const random = new SeededRandom(1);
  const widths = [width, 32, 8, 32, width];
  const network = newNetwork(widths, random);
  const points = new Float32Array(BATCH * width).map(() => random.normal());
  const parameters = packNetwork(network);
  const kernel = new NetworkKernel(widths, BATCH);
  const sums = new Int32Array(gradientLength(widths));
  const ours = () => {
    sums.fill(0);
    kernel.load(parameters);
    for (let r = 0; r < BATCH; r++) kernel.setRow(r, points, r * width);
    kernel.addSums(BATCH, sums);
  };
  let told: Int32Array = sums;
  const plain = () => {
    told = gradientSums(network, points, BATCH);
  };
  const found = { ours: [] as number[], plain: [] as number[] };
  for (let run = 0; run < 6; run++) {
    const [a, b] = [cpuUs(ours, 200), cpuUs(plain, 4)];
    // The first run warms up.
    if (run === 0) continue;
    found.ours.push(a);
    found.plain.push(b);
  }
  const isEqual = told.every((sum, i) => sum === sums[i]);
  if (!isEqual) throw new Error(`the kernel and its plain form differ at width ${width}`);
  const [us, plainUs] = [median(found.ours), median(found.plain)];
  const products = 3 * widths.slice(1).reduce((sum, n, l) => sum + n * (widths[l] as number), 0);
  rows.push({
    ...{ width, usARow: round(us), plainUsARow: round(plainUs) },
    gigaProductsASecond: round(products / us / 1000),
  });
  ratios[`plain, width ${width}`] = round(plainUs / us);
}
await reportBench({ bench: 'network', rows, ratios, passed: Object.values(ratios).every((r) => r > 2) });

function cpuUs(work: () => void, times: number): number {
  const before = process.cpuUsage();
  for (let i = 0; i < times; i++) work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / times / BATCH;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] as number;
}

function round(value: number): number {
  return Number(value.toPrecision(3));
}
