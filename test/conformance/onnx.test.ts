import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import {
  exportOnnx,
  importLightGbm,
  importOnnxTrees,
  ONNX_NAMES,
  sumMargins,
} from '../../src/models/index.ts';
import { trees } from '../support/graph-model.ts';
import { requirePython, runProgram, TREES } from '../support/python-environment.ts';
import { RANDOM_COLUMNS } from '../support/random-model.ts';

const SCRIPT = fileURLToPath(new URL('onnx-peers.py', import.meta.url));
const ROWS = 10_000;

const folder = mkdtempSync(join(tmpdir(), 'guardian-onnx-'));
after(() => rmSync(folder, { recursive: true }));

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
  const { model, rows } = trees(ROWS, { seed: 99, trees: 120, leaves: 30 });
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
    const imported = entry.file.endsWith('.txt')
      ? importLightGbm(bytes.toString('utf8'))
      : importOnnxTrees(bytes);
    assert.equal(imported.columns, columns);
    const margins = sumMargins(imported.ensemble, imported.bias, entry.gaps ? gaps : whole, ROWS);
    const expected = readFileSync(join(folder, `${name}.f64`));
    const theirs = new Float64Array(expected.buffer, expected.byteOffset, ROWS);
    let worst = 0;
    for (let r = 0; r < ROWS; r++)
      worst = Math.max(worst, Math.abs(show(imported.link, margins[r]) - show(imported.link, theirs[r])));
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
