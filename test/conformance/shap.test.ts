import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { SeededRandom } from '../../src/base/index.ts';
import { MISSING_LEFT, type TreeEnsemble, TreeShap } from '../../src/models/index.ts';
import { requirePython, runProgram, TREES } from '../support/python-environment.ts';
import { randomEnsemble } from '../support/random-model.ts';
import '../support/uncounted.ts';

const COLUMNS = 20;
const ROWS = 1000;
const SCRIPT = fileURLToPath(new URL('shap-values.py', import.meta.url));

test('explanations equal those of the shap package on 1,000 rows', async (t) => {
  const python = await requirePython(t, TREES);
  if (python === undefined) return;
  const folder = mkdtempSync(join(tmpdir(), 'guardian-shap-'));
  try {
    const random = new SeededRandom(31);
    const columns = Array.from({ length: COLUMNS }, (_, c) => ({ name: `c${c}`, categories: 0 }));
    const ensemble = withTrueCovers(randomEnsemble(random, 60, 30, columns));
    const values = Float32Array.from({ length: ROWS * COLUMNS }, () =>
      random.chance(0.05) ? Number.NaN : random.uniform(-1, 1),
    );
    const [model, rows, theirs] = ['model.json', 'rows.f32', 'values.f64'].map((name) => join(folder, name));
    writeFileSync(model as string, JSON.stringify({ trees: forShap(ensemble) }));
    writeFileSync(rows as string, values);
    const args = [SCRIPT, model, rows, String(COLUMNS), theirs] as string[];
    const { code, output } = await runProgram(python, args);
    assert.equal(code, 0, output);
    const bytes = readFileSync(theirs as string);
    const expected = new Float64Array(bytes.buffer, bytes.byteOffset, ROWS * COLUMNS);
    const shap = new TreeShap(ensemble);
    let worst = 0;
    const started = process.cpuUsage();
    for (let r = 0; r < ROWS; r++) {
      const found = new Float64Array(COLUMNS);
      shap.add(values.subarray(r * COLUMNS, (r + 1) * COLUMNS), found);
      for (let c = 0; c < COLUMNS; c++) {
        worst = Math.max(worst, Math.abs((found[c] as number) - (expected[r * COLUMNS + c] as number)));
      }
    }
    const { user } = process.cpuUsage(started);
    t.diagnostic(`largest difference ${worst}; ours ${user / ROWS} us a row, ${output.trim()}`);
    assert.ok(worst < 1e-9, `largest difference ${worst}`);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

/** Trees in the dictionaries that shap's TreeExplainer takes; child indices count from the tree's root. */
function forShap({ roots, child, feature, value, flags, cover }: TreeEnsemble): object[] {
  return [...roots].map((from, t) => {
    const to = roots[t + 1] ?? child.length;
    const nodes = Array.from({ length: to - from }, (_, i) => from + i);
    const left = (n: number) => (child[n] === 0 ? -1 : (child[n] as number) - from);
    const right = (n: number) => (child[n] === 0 ? -1 : (child[n] as number) - from + 1);
    return {
      children_left: nodes.map(left),
      children_right: nodes.map(right),
      children_default: nodes.map((n) => (((flags[n] as number) & MISSING_LEFT) !== 0 ? left(n) : right(n))),
      features: nodes.map((n) => feature[n]),
      thresholds: nodes.map((n) => value[n]),
      values: nodes.map((n) => [value[n]]),
      node_sample_weight: nodes.map((n) => cover[n]),
    };
  });
}

/** The same trees with covers that add up, which shap takes for granted and rows of training give. */
function withTrueCovers(ensemble: TreeEnsemble): TreeEnsemble {
  const cover = ensemble.cover.slice();
  for (let n = cover.length - 1; n >= 0; n--) {
    const left = ensemble.child[n] as number;
    if (left !== 0) cover[n] = (cover[left] as number) + (cover[left + 1] as number);
  }
  return { ...ensemble, cover };
}
