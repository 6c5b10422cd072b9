import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { SeededRandom } from '../../src/base/index.ts';
import { checkSchema, readTable } from '../../src/features/index.ts';
import { type CommandResult, guardian, type Home, makeHome } from '../support/cli.ts';
import { lightGbmText } from '../support/lightgbm-text.ts';
import { SYNTHETIC_SCHEMA } from '../support/synthetic-table.ts';

const { schema } = SYNTHETIC_SCHEMA;
/** As the synthetic schema, with b as the logarithm of packets. */
const SCHEMA = {
  ...schema,
  name: 'interchange',
  columns: schema.columns.map((column) =>
    column.name === 'b'
      ? { ...column, transform: 'log1p' as const, range: [0, 1e6] as const, unit: 'packets' }
      : column,
  ),
};
const SERVICES = ['http', 'dns', 'ssh', 'smtp', 'ntp', 'ftp'];
const TREES = { GUARDIAN_TRAINING_METHOD: 'trees', GUARDIAN_TRAINING_ROUNDS: '30' };
/** Hybrids of seconds, not minutes. */
const HYBRID = { GUARDIAN_TRAINING_ROUNDS: '10', GUARDIAN_TRAINING_HYBRID_AUTOENCODER_EPOCHS: '1' };

describe('models that come and go', { timeout: 120_000 }, () => {
  let home: Home;
  let table: string;
  let schemaFile: string;
  const run = async (args: readonly string[], environment: Record<string, string> = {}) =>
    await guardian(home, args, { environment });
  const last = ({ objects }: CommandResult) => objects.at(-1) as Record<string, unknown>;

  before(async () => {
    home = await makeHome();
    table = join(home.folder, 'rows.csv');
    schemaFile = join(home.folder, 'interchange.json');
    await writeFile(schemaFile, JSON.stringify(SCHEMA));
    const random = new SeededRandom(20261123);
    const lines = ['a,b,service,noise,constant,label'];
    for (let r = 0; r < 2000; r++) {
      const packets = random.integer(0, 1000);
      const service = random.integer(0, 5);
      const isAttack = packets > 600 && service === 1 ? !random.chance(0.03) : random.chance(0.01);
      const cells = [random.uniform(-1, 1), packets, SERVICES[service], random.uniform(-2, 2), 7];
      lines.push(`${cells.join(',')},${isAttack ? 'flood' : 'normal'}`);
    }
    await writeFile(table, `${lines.join('\n')}\n`);
  });
  after(() => home.remove());

  it('writes the curve of a training, a line and round', async () => {
    const curve = join(home.folder, 'curve.jsonl');
    const args = ['train', table, '--schema', schemaFile, '--name', 'ours', '--curve', curve, '--json'];
    const trained = await run(args, TREES);
    assert.equal(trained.exitCode, 0, trained.stderr);
    const lines = (await readFile(curve, 'utf8'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    assert.deepEqual(
      lines.map(({ round }) => round),
      lines.map((_, i) => i + 1),
    );
    assert.ok(lines.length >= 10);
    for (const line of lines) {
      assert.equal(line.type, 'train.curve');
      assert.ok(line.validationLoss > 0 && line.validationLoss < 1 && line.rssBytes > 0);
      assert.ok(line.cpuSeconds >= 0 && line.pausedMs >= 0);
    }
    assert.ok(lines.at(-1).validationLoss < lines[0].validationLoss);
    assert.deepEqual(Object.keys(last(trained).pauses as object), ['pauses', 'pausedMs', 'byCause']);
    const again = await run(args, TREES);
    assert.equal(again.exitCode, 2);
    assert.match(again.stderr, /cli\.file-exists/);
  });

  it('holds the next candidate against the champion, and names by how much it is worse', async () => {
    await run(['models', 'promote', 'ours@1.0.0']);
    const args = ['train', table, '--schema', schemaFile, '--name', 'ours', '--json'];
    // A leaf of a thousand rows never splits, so every row is normal.
    const blind = await run(args, { ...TREES, GUARDIAN_TRAINING_MIN_ROWS_PER_LEAF: '5000' });
    assert.equal(blind.exitCode, 1, blind.stderr);
    const gates = last(blind).gates as { name: string; passed: boolean; value: number; detail?: string }[];
    const champion = gates.find(({ name }) => name === 'champion');
    assert.equal(champion?.passed, false);
    assert.match(champion?.detail ?? '', /balanced accuracy -0\.\d{4} against 1\.0\.0/);
    const promoted = await run(['models', 'promote', 'ours@1.1.0']);
    assert.notEqual(promoted.exitCode, 0);
    assert.match(promoted.stderr, /registry\.gate/);
  });

  it('writes trees as ONNX that onnxruntime agrees with, and refuses a hybrid by name', async () => {
    const out = join(home.folder, 'ours.onnx');
    const written = await run(['models', 'export', 'ours@1.0.0', '--onnx', '--out', out, '--json']);
    assert.equal(written.exitCode, 0, written.stderr);
    const bytes = await readFile(out);
    assert.equal(last(written).onnxDigest, `sha256:${createHash('sha256').update(bytes).digest('hex')}`);
    const rows = await readTable(table, checkSchema(SCHEMA));
    const session = await InferenceSession.create(bytes, { logSeverityLevel: 3 });
    const answer = await session.run({ features: new Tensor('float32', rows.values, [rows.rows, 5]) });
    const probability = answer.probability?.data as Float32Array;
    await session.release();
    for (const row of [1, 2, 500, 2000]) {
      const explained = last(
        await run(['models', 'explain', 'ours@1.0.0', table, '--row', String(row), '--json']),
      );
      assert.ok(Math.abs((explained.probability as number) - (probability[row - 1] as number)) <= 1e-6);
    }
    const hybrid = await run(['train', table, '--schema', schemaFile, '--name', 'hybrid', '--json'], HYBRID);
    assert.equal(last(hybrid).type, 'train.result', hybrid.stderr);
    const refused = await run(['models', 'export', 'hybrid@1.0.0', '--onnx', '--out', `${out}.2`]);
    assert.match(refused.stderr, /hybrid.*models\.onnx-refused/);
    assert.notEqual(refused.exitCode, 0);
    const over = await run(['models', 'export', 'ours@1.0.0', '--onnx', '--out', out]);
    assert.match(over.stderr, /cli\.file-exists/);
  });

  it('tells the loss of a hybrid by round, whose model is the same with and without a curve', async () => {
    const curve = join(home.folder, 'hybrid.jsonl');
    const args = ['train', table, '--schema', schemaFile, '--name', 'hybrid', '--curve', curve, '--json'];
    const watched = await run(args, HYBRID);
    const shown = last(await run(['models', 'show', 'hybrid@1.0.0', '--json']));
    assert.equal(last(watched).digest, shown.digest, watched.stderr);
    const lines = (await readFile(curve, 'utf8'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    const trees = lines.filter(({ part }) => part === 'trees');
    assert.equal(trees.length, trees[0].rounds);
    for (const { round, validationLoss } of trees)
      assert.ok(validationLoss > 0 && validationLoss < 1, `${round}: ${validationLoss}`);
    const [epoch, ...others] = lines.filter(({ part }) => part === 'autoencoder');
    assert.deepEqual([epoch.round, epoch.rounds, others], [1, 1, []]);
    assert.ok(epoch.trainingLoss > 0 && epoch.rowsPerSecond > 0);
  });

  it('takes trees of LightGBM in, raw ones too: gated, published, with the digest of their file', async () => {
    const file = join(home.folder, 'theirs.txt');
    const below = { column: 2, categories: [0, 2, 3, 4, 5], leaf: -3, above: 3 };
    await writeFile(file, lightGbmText(5, [{ column: 1, threshold: 600.5, leaf: -3, above: below }]));
    const args = [
      'models',
      'import-trees',
      file,
      '--schema',
      schemaFile,
      '--name',
      'theirs',
      '--data',
      table,
    ];
    const taken = await run([...args, '--raw', '--json']);
    assert.equal(taken.exitCode, 0, taken.stderr);
    const digest = `sha256:${createHash('sha256')
      .update(await readFile(file))
      .digest('hex')}`;
    assert.equal(last(taken).origin, digest);
    const metrics = last(taken).metrics as Record<string, { value: number }>;
    assert.ok((metrics.recall?.value ?? 0) > 0.8 && (metrics.fpr?.value ?? 1) < 0.01);
    const shown = last(await run(['models', 'show', 'theirs@1.0.0', '--json'])) as {
      manifest: { trainer: string; configuration: { origin: object; values: string } };
    };
    assert.equal(shown.manifest.trainer, `import of lightgbm ${digest}`);
    assert.deepEqual(shown.manifest.configuration.origin, {
      format: 'lightgbm',
      digest,
      bytes: (await readFile(file)).length,
    });
    assert.equal(shown.manifest.configuration.values, 'raw');
    assert.equal((await run(['models', 'promote', 'theirs@1.0.0'])).exitCode, 0);
    // The same thresholds meant for vectors find nothing, which the gates say.
    const wrong = await run([...args, '--json']);
    assert.equal(wrong.exitCode, 1, wrong.stderr);
    const missing = await run(args.with(2, `${file}.gone`));
    assert.equal(missing.exitCode, 2);
  });

  it('explains a row exactly, in the units of the schema', async () => {
    const text = (await readFile(table, 'utf8')).split('\n');
    const row = text.findIndex((line) => /,dns,.*flood$/.test(line));
    const args = ['models', 'explain', 'theirs@1.0.0', table, '--row', String(row), '--json'];
    const explained = last(await run(args)) as unknown as {
      method: string;
      threshold: number;
      probability: number;
      features: { column: string; value: unknown; unit: string; contribution: number }[];
    };
    assert.equal(explained.method, 'tree-shap');
    assert.ok(explained.probability >= explained.threshold);
    const [packets, service, ...rest] = [...explained.features].sort((x, y) =>
      x.column < y.column ? -1 : 1,
    );
    assert.deepEqual([packets?.column, service?.column, rest], ['b', 'service', []]);
    assert.deepEqual([packets?.value, packets?.unit], [Number(text[row]?.split(',')[1]), 'packets']);
    assert.equal(service?.value, 'dns');
    assert.ok((packets?.contribution ?? 0) > 0 && (service?.contribution ?? 0) > 0);
    const beyond = await run(['models', 'explain', 'theirs@1.0.0', table, '--row', '2001']);
    assert.equal(beyond.exitCode, 2);
    assert.match(beyond.stderr, /expected a row from 1 to 2000/);
    const plain = await run(args.slice(0, -1));
    assert.match(plain.stdout, /feature +value +unit +log-odds +speaks for/);
  });
});
