import type { SeededRandom } from '../../src/base/index.ts';
import {
  BoostedModel,
  type BoostedModelParts,
  fitStatistics,
  type NoveltyParts,
  type TreeEnsemble,
} from '../../src/models/index.ts';

/** Columns of the models, all numbers. */
export const SCORED_COLUMNS = 40;
const TREES = 100;
const LEAVES = 63;
const KINDS = ['flood', 'scan', 'probe', 'exfiltration'];
const NORMALS = 10_000;
/** Of normal rows; what the detectors know is scattered about them. */
const CENTRES = 40;

/** Models of the sizes that training gives, made of random numbers: trees alone, and a hybrid with every detector at work. */
export function scoringModels(random: SeededRandom): Readonly<Record<'trees' | 'hybrid', BoostedModel>> {
  const columns = Array.from({ length: SCORED_COLUMNS }, (_, c) => ({ name: `c${c}`, categories: 0 }));
  const sample = scoredRows(random, 1_000);
  const parts: BoostedModelParts = {
    schemaId: `sha256:${'ab'.repeat(32)}`,
    sourceKinds: ['packets'],
    columns,
    kinds: KINDS,
    threshold: 0.5,
    bias: -0.25,
    detector: grownTrees(random, TREES, LEAVES, 0.2),
    calibration: { kind: 'platt', slope: 1.2, intercept: -0.5 },
    kindStage: {
      biases: KINDS.map(() => random.uniform(-1, 1)),
      treeCounts: KINDS.map(() => 20),
      ensemble: grownTrees(random, 20 * KINDS.length, 31, 0.3),
    },
    statistics: fitStatistics(sample, 1_000, new Array<number>(SCORED_COLUMNS).fill(0), [0, 1, 2]),
  };
  return { trees: new BoostedModel(parts), hybrid: new BoostedModel({ ...parts, novelty: novelty(random) }) };
}

/** Rows about some centres, one number in 32 missing. */
export function scoredRows(random: SeededRandom, rows: number): Float32Array {
  const values = new Float32Array(rows * SCORED_COLUMNS);
  for (let r = 0; r < rows; r++) {
    const centre = random.integer(0, CENTRES - 1);
    for (let c = 0; c < SCORED_COLUMNS; c++) {
      const x = Math.sin(centre * 12.9898 + c * 78.233) + random.normal(0, 0.2);
      values[r * SCORED_COLUMNS + c] = random.chance(1 / 32) ? Number.NaN : x;
    }
  }
  return values;
}

/** Trees grown leaf by leaf, any leaf as likely as another: some twice as deep as balanced ones, as boosting grows them. */
function grownTrees(random: SeededRandom, trees: number, leaves: number, spread: number): TreeEnsemble {
  const roots: number[] = [];
  const nodes: { child: number; feature: number; value: number }[] = [];
  const add = (): number => nodes.push({ child: 0, feature: 0, value: random.normal(0, spread) }) - 1;
  for (let t = 0; t < trees; t++) {
    const open = [add()];
    roots.push(open[0] as number);
    while (open.length < leaves) {
      const [leaf = 0] = open.splice(random.integer(0, open.length - 1), 1);
      open.push(add(), add());
      const feature = random.integer(0, SCORED_COLUMNS - 1);
      nodes[leaf] = { child: nodes.length - 2, feature, value: random.uniform(-1, 1) };
    }
  }
  return {
    roots: Uint32Array.from(roots),
    child: Uint32Array.from(nodes, ({ child }) => child),
    feature: Uint16Array.from(nodes, ({ feature }) => feature),
    value: Float32Array.from(nodes, ({ value }) => value),
    flags: new Uint8Array(nodes.length),
    block: new Uint32Array(nodes.length),
    cover: new Uint32Array(nodes.length).fill(1),
    bitsets: new Uint32Array(0),
  };
}

function novelty(random: SeededRandom): NoveltyParts {
  const floats = (n: number, spread: number) => new Float32Array(n).map(() => random.normal(0, spread));
  const tail = (low: number, high: number) => ({
    scores: Float32Array.of(low, (low + high) / 2, high),
    levels: Float32Array.of(0, 1, 4),
    slope: 4 / (high - low),
  });
  const layer = (inputs: number, outputs: number) => ({
    ...{
      inputs,
      outputs,
      weights: floats(inputs * outputs, 1 / Math.sqrt(inputs)),
      biases: floats(outputs, 0.1),
    },
  });
  const forest = grownTrees(random, 200, 128, 1);
  return {
    encoding: {
      means: new Float32Array(SCORED_COLUMNS),
      scales: new Float32Array(SCORED_COLUMNS).fill(1),
      slots: new Uint16Array(0),
      slotCounts: new Uint16Array(SCORED_COLUMNS),
    },
    normals: scoredRows(random, NORMALS).map((x) => (Number.isNaN(x) ? 0 : x)),
    attacks: {
      points: floats(2 * SCORED_COLUMNS, 1),
      classes: Uint16Array.of(0, 1),
      names: ['flood', 'scan'],
    },
    forest: { ...forest, value: forest.value.map((x, n) => (forest.child[n] === 0 ? -Math.abs(x) / 20 : x)) },
    autoencoder: [layer(SCORED_COLUMNS, 32), layer(32, 8), layer(8, 32), layer(32, SCORED_COLUMNS)],
    tails: { distance: tail(1, 3), isolation: tail(-9, -7), reconstruction: tail(3, 9) },
    weights: { distance: 0.5, isolation: 0.25, reconstruction: 0.25 },
    cap: 12,
    novelDistance: 3,
  };
}
