import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { SeededRandom } from '../../src/base/index.ts';
import {
  BoostedModel,
  exportOnnx,
  fitStatistics,
  importLightGbm,
  importOnnxTrees,
  ONNX_NAMES,
  sumMargins,
} from '../../src/models/index.ts';
import { requirePython, runProgram, TREES } from '../support/python-environment.ts';
import { RANDOM_COLUMNS, randomEnsemble, randomRows } from '../support/random-model.ts';

const SCRIPT = fileURLToPath(new URL('onnx-peers.py', import.meta.url));
const ROWS = 10_000;

const folder = mkdtempSync(join(tmpdir(), 'guardian-onnx-'));
after(() => rmSync(folder, { recursive: true }));

/** A model of random trees with categories and missing values, calibrated away from the identity. */
function someModel(): { model: BoostedModel; rows: Float32Array } {
  const random = new SeededRandom(99);
  const rows = randomRows(random, ROWS);
  const categories = RANDOM_COLUMNS.map((column) => column.categories);
  const model = new BoostedModel({
    schemaId: `sha256:${'5'.repeat(64)}`,
    sourceKinds: ['csv'],
    columns: RANDOM_COLUMNS,
    kinds: [],
    threshold: 0.5,
    bias: -0.37,
    detector: randomEnsemble(random, 120, 30),
    calibration: { kind: 'platt', slope: 0.8, intercept: 0.1 },
    statistics: fitStatistics(rows, ROWS, categories, new Float32Array(1)),
  });
  return { model, rows };
}

async function runOnnx(bytes: Uint8Array, rows: Float32Array, columns: number) {
  const session = await InferenceSession.create(bytes, { logSeverityLevel: 3 });
  try {
    const features = new Tensor('float32', rows, [rows.length / columns, columns]);
    const answer = await session.run({ [ONNX_NAMES.input]: features });
    return (name: string) => answer[name]?.data as Float32Array;
  } finally {
    await session.release();
  }
}

test('an exported model gives in onnxruntime what it gives here', async (t) => {
  const { model, rows } = someModel();
  const bytes = exportOnnx(model.parts);
  const theirs = await runOnnx(bytes, rows, RANDOM_COLUMNS.length);
  const probability = new Float32Array(ROWS);
  model.score(rows, ROWS, { probability, kind: new Int16Array(ROWS) });
  let worst = 0;
  for (let r = 0; r < ROWS; r++) {
    worst = Math.max(
      worst,
      Math.abs((probability[r] as number) - (theirs(ONNX_NAMES.probability)[r] as number)),
    );
  }
  t.diagnostic(`largest difference ${worst}`);
  assert.ok(worst <= 1e-6, `largest difference ${worst}`);
  writeFileSync(join(folder, 'ours.onnx'), bytes);
});

test('trees of LightGBM, XGBoost and scikit-learn become native trees', async (t) => {
  const python = await requirePython(t, TREES);
  if (python === undefined) return;
  // The checker of the onnx package reads our file on the way.
  const { code, output } = await runProgram(python, [SCRIPT, folder, join(folder, 'ours.onnx')]);
  assert.equal(code, 0, output);
  const { made, columns } = JSON.parse(output.trim().split('\n').at(-1) as string);
  const whole = floats(join(folder, 'rows.f32'));
  const gaps = floats(join(folder, 'gaps.f32'));
  const found: string[] = [];
  for (const [name, entry] of Object.entries<{ file?: string; gaps?: boolean; failed?: string }>(made)) {
    if (entry.file === undefined) {
      t.diagnostic(`${name}: its converter failed: ${entry.failed}`);
      continue;
    }
    const bytes = readFileSync(join(folder, entry.file));
    const trees = entry.file.endsWith('.txt')
      ? importLightGbm(bytes.toString('utf8'))
      : importOnnxTrees(bytes);
    assert.equal(trees.columns, columns);
    const margins = sumMargins(trees.ensemble, trees.bias, entry.gaps ? gaps : whole, ROWS);
    const expected = readFileSync(join(folder, `${name}.f64`));
    const theirs = new Float64Array(expected.buffer, expected.byteOffset, ROWS);
    let worst = 0;
    for (let r = 0; r < ROWS; r++)
      worst = Math.max(worst, Math.abs(show(trees.link, margins[r]) - show(trees.link, theirs[r])));
    t.diagnostic(`${name}: largest difference ${worst}`);
    assert.ok(worst <= 1e-6, `${name}: largest difference ${worst}`);
    found.push(name);
  }
  for (const name of [
    'lightgbm-text',
    'lightgbm-categories',
    'lightgbm',
    'xgboost',
    'sklearn-gradient',
    'sklearn-forest',
  ]) {
    assert.ok(found.includes(name), `${name} was not converted: ${made[name]?.failed}`);
  }
});

/** As a probability, whichever way the margin is meant. */
function show(link: 'logistic' | 'identity', margin: number | undefined): number {
  const m = margin as number;
  return link === 'identity' ? m : 1 / (1 + Math.exp(-m));
}

function floats(path: string): Float32Array {
  const bytes = readFileSync(path);
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}
