import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { SeededRandom } from '../../src/base/index.ts';
import { loadSchema, readTable } from '../../src/features/index.ts';
import { calibrate, GraphModel, logOdds, readModel } from '../../src/models/index.ts';
import {
  type CommandResult,
  guardian,
  type Home,
  makeHome,
  startGuardian,
  waitForExit,
  waitForObject,
} from '../support/cli.ts';
import { requirePython, runProgram, TREES } from '../support/python-environment.ts';
import { SERVICES, SYNTHETIC_SCHEMA } from '../support/synthetic-table.ts';

const SCRIPT = fileURLToPath(new URL('import-onnx.py', import.meta.url));
const ROWS = 1_500;
const ASKED = 200;

/** A graph as its maker reads it. */
interface Said {
  readonly producer: string;
  readonly irVersion: number;
  readonly opsets: Readonly<Record<string, number>>;
  readonly operators: readonly string[];
}

/** Attacks by two columns together, which no line parts. */
function writeRows(path: string): void {
  const random = new SeededRandom(20261123);
  const lines = ['a,b,service,noise,constant,label'];
  for (let r = 0; r < ROWS; r++) {
    const [a, b] = [random.uniform(-1, 1), random.uniform(-1, 1)];
    const cells = [a, b, SERVICES[random.integer(0, 5)], random.uniform(-2, 2), 7];
    lines.push(`${cells.join(',')},${a * b > 0.1 ? 'flood' : 'normal'}`);
  }
  writeFileSync(path, `${lines.join('\n')}\n`);
}

const last = ({ objects }: CommandResult) => objects.at(-1) as Record<string, unknown>;

/** Asks a running server for the probability of rows, as anybody would. */
async function ask(url: string, key: string, name: string, rows: Float32Array): Promise<readonly number[]> {
  const columns = rows.length / ASKED;
  const inputs = [{ name: 'features', datatype: 'FP32', shape: [ASKED, columns], data: [...rows] }];
  const answer = await fetch(`${url}/v2/models/${name}/infer`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ inputs }),
  });
  assert.equal(answer.status, 200, await answer.clone().text());
  const { outputs } = (await answer.json()) as { outputs: { name: string; data: number[] }[] };
  return outputs.find((each) => each.name === 'probability')?.data ?? [];
}

async function served<T>(home: Home, work: (url: string, key: string) => Promise<T>): Promise<T> {
  const server = startGuardian(home, ['serve', '--port', '0', '--json']);
  try {
    const { url } = await waitForObject(server, 'serve.listening');
    const key = readFileSync(join(home.folder, 'state', 'ai-guardian', 'admin.key'), 'utf8').trim();
    return await work(String(url), key);
  } finally {
    server.kill('SIGTERM');
    await waitForExit(server);
  }
}

suite('guardian models import-onnx', () => {
  test('takes in a network of scikit-learn: gated, promoted, served, and named in the ML-BOM', {
    timeout: 300_000,
  }, async (t) => {
    const python = await requirePython(t, TREES);
    if (python === undefined) return;
    const home = await makeHome();
    try {
      const at = (name: string) => join(home.folder, name);
      writeRows(at('rows.csv'));
      writeFileSync(at('schema.json'), JSON.stringify(SYNTHETIC_SCHEMA.schema));
      const schema = await loadSchema(at('schema.json'));
      const table = await readTable(at('rows.csv'), schema);
      const columns = schema.schema.columns.length;
      writeFileSync(at('rows.f32'), table.values);
      writeFileSync(at('labels.u8'), table.labels);
      const { code, output } = await runProgram(python, [SCRIPT, home.folder, String(columns)]);
      assert.equal(code, 0, output);
      // Warnings of the converter stand around it.
      const said = JSON.parse(output.match(/^\{.*\}$/m)?.[0] ?? '') as Said;

      const run = (...args: string[]) => guardian(home, args);
      const take = (file: string, ...more: string[]) =>
        run(
          ...['models', 'import-onnx', at(file), '--name', 'net', '--data', at('rows.csv')],
          ...['--schema', at('schema.json'), '--json', ...more],
        );
      for (const [file, refusal, says] of [
        ['zipmap.onnx', 'models.onnx-refused', /zipmap=False/],
        ['outside.onnx', 'models.onnx-refused', /in another file/],
        ['custom.onnx', 'models.onnx-refused', /operators of "com\.example"/],
        ['rows.csv', 'models.malformed', /not well formed/],
      ] as const) {
        const refused = await take(file);
        assert.notEqual(refused.exitCode, 0, file);
        assert.ok(
          refused.stderr.includes(refusal) && says.test(refused.stderr),
          `${file}: ${refused.stderr}`,
        );
      }
      const turned = await take('net.onnx', '--column', '0');
      assert.match(turned.stderr, /training\.graph-refused/, 'the column of what is normal');
      assert.match(
        (await take('net.onnx', '--output', 'nothing')).stderr,
        /it has no output of that name, but "label"/,
      );

      const taken = await take('net.onnx');
      assert.equal(taken.exitCode, 0, taken.stderr);
      assert.deepEqual(last(taken).output, { name: 'probabilities', column: 1, link: 'probability' });
      const graph = last(taken).graph as { producer: string; operators: Record<string, number> };
      assert.equal(graph.producer, said.producer);
      const counts: Record<string, number> = {};
      for (const operator of said.operators) counts[operator] = (counts[operator] ?? 0) + 1;
      assert.deepEqual(graph.operators, counts);

      const bom = last(await run('models', 'bom', 'net@1.0.0', '--json'));
      const text = JSON.stringify(bom);
      assert.ok(text.includes('"architectureFamily":"ONNX graph"'));
      assert.ok(text.includes(said.producer));
      for (const [domain, version] of Object.entries(said.opsets))
        assert.ok(text.includes(`${domain} ${version}`), domain);
      for (const [name, n] of Object.entries(counts)) assert.ok(text.includes(`${name} x${n}`), name);

      assert.equal((await run('models', 'promote', 'net@1.0.0')).exitCode, 0);
      // The next one is held against a champion that is a graph, too.
      const second = await take('net.onnx');
      assert.equal(second.exitCode, 0, second.stderr);
      const gates = last(second).gates as { name: string; value: number }[];
      assert.ok(gates.some(({ name, value }) => name === 'champion' && value === 0));
      const measured = await run('evaluate', 'net@1.0.0', at('rows.csv'), '--json');
      assert.equal(last(measured).rows, ROWS, measured.stderr);

      await run('models', 'export', 'net@1.0.0', '--out', at('net'));
      const model = readModel(readFileSync(join(at('net'), 'model.agm')));
      assert.ok(model instanceof GraphModel);
      const { calibration } = model.parts;
      const theirs = new Float64Array(new Uint8Array(readFileSync(at('says.f64'))).buffer);
      const ours = await served(home, (url, key) =>
        ask(url, key, 'net', table.values.subarray(0, ASKED * columns)),
      );
      assert.equal(ours.length, ASKED);
      for (let r = 0; r < ASKED; r++) {
        const expected = calibrate(calibration ?? assert.fail(), logOdds(theirs[r] as number, 'probability'));
        assert.ok(
          Math.abs((ours[r] as number) - expected) <= 1e-4,
          `row ${r}: ${ours[r]}, expected ${expected}`,
        );
      }
    } finally {
      await home.remove();
    }
  });
});
