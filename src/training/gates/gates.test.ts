import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { SYNTHETIC_SCHEMA, syntheticTable } from '../../../test/support/synthetic-table.ts';
import { SeededRandom } from '../../base/index.ts';
import { type LoadedSchema, loadSchema, PACKAGED_SCHEMAS } from '../../features/index.ts';
import type { DetectionModel, ScoreBatchBuffers } from '../../models/index.ts';
import { evaluateModel } from '../evaluate.ts';
import { type GateInputs, runGates } from '../gates.ts';
import type { LabelledTable } from '../labelled-table.ts';
import { moveWithinReach, reachOf } from './attacker-reach.ts';
import { calibrationError } from './calibration-error.ts';
import { countDuplicates, schemaMismatches, strongestColumn } from './data-checks.ts';
import { pairedDifference } from './paired-difference.ts';
import { measureRobustness } from './robustness.ts';

const SEED = 20261123;
const REACH = { reachFactor: 1.5, reachDraws: 3, reachRows: 1000, reachSeed: 1 };
const flowCore = await loadSchema('flow-core');

/** A model that is one formula of a row. */
function formula(schema: LoadedSchema, probabilityOf: (row: Float32Array) => number): DetectionModel {
  const columns = schema.schema.columns.length;
  return {
    schemaId: schema.id,
    columnNames: schema.schema.columns.map(({ name }) => name),
    kinds: [],
    sourceKinds: schema.schema.sourceKinds,
    threshold: 0.5,
    score: (values: Float32Array, rows: number, out: ScoreBatchBuffers) => {
      for (let r = 0; r < rows; r++) {
        out.probability[r] = probabilityOf(values.subarray(r * columns, (r + 1) * columns));
        out.kind[r] = -1;
      }
    },
    explain: () => [],
  };
}

function tableOf(schema: LoadedSchema, rows: readonly (readonly number[])[], labels: readonly number[]) {
  const columns = schema.schema.columns.length;
  return {
    rows: rows.length,
    columns,
    values: Float32Array.from(rows.flatMap((row) => [...row, ...new Array(columns - row.length).fill(0)])),
    labels: Uint8Array.from(labels),
    typeIndex: Uint16Array.from(labels),
    typeNames: ['benign', 'attack'],
  } satisfies LabelledTable;
}

test('a paired difference counts only rows that one of two models got right', () => {
  // 4 normal rows, 5 attacks; the candidate wins one attack and one normal row, and loses one attack.
  const labels = [0, 0, 0, 0, 1, 1, 1, 1, 1];
  const candidate = { threshold: 0.5, probability: [0, 0, 0, 0, 1, 1, 1, 0, 0] };
  const champion = { threshold: 0.7, probability: [0.6, 0.8, 0, 0, 1, 1, 0.6, 1, 0] };
  const found = pairedDifference({ candidate, champion, labels });
  assert.ok(found);
  assert.deepEqual([found.candidateOnly, found.championOnly], [2, 1]);
  assert.equal(found.value, 0.125);
  const variance = (1 / 4 - 1 / 16) / 4 / 4 + (2 / 5 - 0) / 5 / 4;
  assert.ok(Math.abs(found.high - (0.125 + 1.959963984540054 * Math.sqrt(variance))) < 1e-12);
  assert.ok(Math.abs(found.low + found.high - 0.25) < 1e-12);
  const same = pairedDifference({ candidate, champion: candidate, labels });
  assert.deepEqual([same?.value, same?.low, same?.high], [0, 0, 0]);
  assert.equal(pairedDifference({ candidate, champion, labels: labels.fill(1) }), undefined);
});

test('the interval of a paired difference covers it in about 95 of 100 draws', () => {
  const random = new SeededRandom(SEED);
  let covered = 0;
  for (let run = 0; run < 400; run++) {
    const labels = Array.from({ length: 800 }, (_, r) => (r < 500 ? 0 : 1));
    const right = (chance: number) => labels.map((label) => (random.chance(chance) ? label : 1 - label));
    const found = pairedDifference({
      candidate: { probability: right(0.9), threshold: 0.5 },
      champion: { probability: right(0.87), threshold: 0.5 },
      labels,
    });
    if (found && found.low <= 0.03 && found.high >= 0.03) covered++;
  }
  assert.ok(covered >= 368 && covered <= 394, `${covered} of 400`);
});

test('calibration error is 0 where shares are what probabilities say, and their distance where not', () => {
  const labels = [1, 0, 0, 0, 1, 1, 1, 0];
  const probability = [0.25, 0.25, 0.25, 0.25, 0.75, 0.75, 0.75, 0.75];
  const right = calibrationError(probability, labels, 10);
  assert.equal(right.expected, 0);
  assert.deepEqual(
    right.bins.map(({ rows }) => rows),
    [4, 4],
  );
  const wrong = calibrationError([1, 1, 0.9, 0.9], [0, 0, 1, 1], 10);
  // 0.9 and 1 are both in the last bin.
  assert.ok(Math.abs(wrong.expected - 0.45) < 1e-9);
  assert.ok(Math.abs(wrong.brier - (1 + 1 + 0.01 + 0.01) / 4) < 1e-9);
  assert.deepEqual(calibrationError([], [], 10), { expected: 0, brier: 0, bins: [] });
});

test('the reach of an attacker is what the initiator of a flow sends and how long he takes', async () => {
  const reached: Record<string, string[]> = {};
  for (const name of PACKAGED_SCHEMAS) {
    const { schema } = await loadSchema(name);
    reached[name] = schema.columns.filter((column) => reachOf(column)).map((column) => column.name);
  }
  assert.deepEqual(reached['nsl-kdd'], ['duration', 'src_bytes', 'urgent']);
  assert.deepEqual(reached['flow-core'], [
    ...[
      'duration',
      'forward_packets',
      'forward_bytes',
      'forward_bytes_per_packet',
      'packet_rate',
      'byte_rate',
    ],
    ...['forward_payload', 'channel_interval_mean', 'channel_mean_duration'],
  ]);
  assert.deepEqual(reached.dga, []);
  for (const name of ['flow', 'unsw-nb15', 'nf-bot-iot-v2', 'sdn-ddos']) {
    assert.ok((reached[name]?.length ?? 0) >= 4, `${name}: ${reached[name]}`);
    for (const column of reached[name] ?? []) {
      assert.doesNotMatch(column, /backward|dst|OUT|^d(pkts|bytes)|share|_short$|_long$/, name);
    }
  }
});

test('moved rows keep what no attacker reaches, stay in range, and are the same for the same seed', () => {
  const { columns } = flowCore.schema;
  const value = fc.oneof(fc.constant(Number.NaN), fc.double({ min: 0, max: 8, noNaN: true }));
  fc.assert(
    fc.property(fc.array(value, { minLength: columns.length, maxLength: columns.length }), (row) => {
      const values = Float32Array.from(row);
      const moved = moveWithinReach(values, flowCore, { factor: 2, seed: 3 });
      assert.deepEqual(moved, moveWithinReach(values, flowCore, { factor: 2, seed: 3 }));
      for (const [c, column] of columns.entries()) {
        const [before, after] = [values[c] as number, moved[c] as number];
        if (reachOf(column) === undefined || Number.isNaN(before)) assert.ok(Object.is(before, after));
        else {
          const top = column.range?.[1] ?? Number.POSITIVE_INFINITY;
          assert.ok(after <= (column.transform === 'log1p' ? Math.log1p(top) : top) * (1 + 1e-6));
          if (reachOf(column) === 'packets' && Math.expm1(before) <= top) assert.ok(after >= before - 1e-5);
        }
      }
      const still = moveWithinReach(values, flowCore, { factor: 1, seed: 3 });
      for (const [i, x] of still.entries()) {
        if (!Number.isNaN(x) && Math.expm1(values[i] as number) < 1000)
          assert.ok(Math.abs(x - (values[i] as number)) <= 1e-5 * Math.max(1, Math.abs(x)), `${i}: ${x}`);
      }
    }),
    { seed: SEED, numRuns: 100 },
  );
});

test('recall falls for a model that trusts what an attacker moves, and stays for one that does not', () => {
  const columns = flowCore.schema.columns.map(({ name }) => name);
  const packets = columns.indexOf('forward_packets');
  const failed = columns.indexOf('src_failed_share_long');
  const rows = Array.from({ length: 200 }, (_, r) => {
    const row = new Array<number>(columns.length).fill(0);
    row[packets] = Math.log1p(100);
    row[failed] = r % 2;
    return row;
  });
  const table = tableOf(
    flowCore,
    rows,
    rows.map((_, r) => r % 2),
  );
  // Few packets mean attack: whoever sends more is not found.
  const few = formula(flowCore, (row) => ((row[packets] as number) < Math.log1p(101) ? 1 : 0));
  const shares = formula(flowCore, (row) => row[failed] as number);
  const fooled = measureRobustness(few, flowCore, table, REACH);
  assert.ok(fooled && fooled.rows === 100 && fooled.recall.value === 1 && fooled.loss > 0.9);
  assert.ok(
    fooled.movedColumns.includes('forward_packets') && !fooled.movedColumns.includes('src_failed_share_long'),
  );
  assert.equal(measureRobustness(shares, flowCore, table, REACH)?.loss, 0);
  assert.deepEqual(fooled, measureRobustness(few, flowCore, table, REACH));
  const report = runGates(inputsOf(few, flowCore, table), { maxRecallLoss: 0.2 });
  const gate = report.gates.find(({ name }) => name === 'robustness');
  assert.equal(gate?.passed, false);
  assert.equal(gate?.value, fooled.loss);
  assert.match(gate?.detail ?? '', /recall 1\.0000 falls to 0\.0/);
});

test('duplicates are counted as the naive comparison counts them', () => {
  const random = new SeededRandom(SEED);
  const some = (rows: number) =>
    tableOf(
      SYNTHETIC_SCHEMA,
      Array.from({ length: rows }, () => [
        random.integer(0, 3),
        random.chance(0.3) ? Number.NaN : random.integer(0, 3),
        random.integer(0, 2),
      ]),
      new Array(rows).fill(0),
    );
  const [train, test] = [some(40), some(300)];
  const key = (table: LabelledTable, r: number) => String(table.values.subarray(r * 5, r * 5 + 5));
  const numbers = Uint32Array.from({ length: 20 }, (_, i) => 2 * i);
  const known = new Set([...numbers].map((r) => key(train, r)));
  let expected = 0;
  for (let r = 0; r < test.rows; r++) if (known.has(key(test, r))) expected++;
  assert.ok(expected > 50 && expected < 300);
  assert.equal(countDuplicates(test, train, numbers), expected);
  // One row a million times must not make the table of hashes quadratic.
  const copies = new Uint32Array(200_000);
  assert.equal(countDuplicates(train, train, copies) >= 1, true);
});

test('a column that tells the label by itself is named, and a schema that differs too', () => {
  const table = syntheticTable(2000, 5);
  const leaking = { ...table, values: table.values.slice() };
  for (let r = 0; r < table.rows; r++) leaking.values[r * 5 + 3] = table.labels[r] as number;
  assert.deepEqual(strongestColumn(leaking, SYNTHETIC_SCHEMA), { column: 'noise', accuracy: 1 });
  assert.ok((strongestColumn(table, SYNTHETIC_SCHEMA)?.accuracy ?? 1) < 0.8);
  assert.equal(strongestColumn(syntheticTable(50, 5), SYNTHETIC_SCHEMA), undefined);
  const model = formula(SYNTHETIC_SCHEMA, () => 0);
  assert.deepEqual(schemaMismatches(model, SYNTHETIC_SCHEMA), []);
  assert.deepEqual(schemaMismatches({ ...model, columnNames: ['a', 'c'] }, SYNTHETIC_SCHEMA), [
    'b',
    'service',
    'noise',
    'constant',
  ]);
  assert.equal(schemaMismatches(model, flowCore).length, flowCore.schema.columns.length);
});

test('every gate that fails names its number, and what cannot be run is said', () => {
  const table = syntheticTable(2000, 5);
  const good = formula(SYNTHETIC_SCHEMA, (row) =>
    (row[0] as number) * (row[1] as number) > 0.1 ? 0.9 : 0.1,
  );
  const bad = formula(SYNTHETIC_SCHEMA, (row) => ((row[1] as number) > 0.5 ? 0.9 : 0.1));
  const all = Uint32Array.from(table.labels.keys());
  const inputs: GateInputs = {
    ...inputsOf(bad, SYNTHETIC_SCHEMA, table),
    champion: { model: good, version: '1.2.0' },
    training: { rows: { table, numbers: all }, cpuSeconds: 9000, peakBytes: 1e10 },
  };
  const report = runGates(inputs, { kindRecall: { tunnel: 0.9 }, minKindRecall: 0.6 });
  const failed = new Map(report.gates.filter(({ passed }) => !passed).map((gate) => [gate.name, gate]));
  for (const name of [
    'champion',
    'recall flood',
    'recall tunnel',
    'duplicates',
    'train-cpu',
    'train-memory',
  ]) {
    assert.ok(failed.has(name), `${name} in ${[...failed.keys()]}`);
  }
  assert.equal(failed.get('duplicates')?.value, 1);
  assert.equal(failed.get('train-cpu')?.value, 9000);
  assert.match(failed.get('champion')?.detail ?? '', /balanced accuracy -0\.\d+ against 1\.2\.0/);
  assert.ok((failed.get('champion')?.value ?? 0) < -0.02);
  const tunnel = failed.get('recall tunnel');
  assert.ok(tunnel?.low !== undefined && tunnel.high !== undefined && tunnel.low < tunnel.value);
  assert.deepEqual(
    report.skipped?.map(({ name }) => name),
    ['robustness'],
  );
  const few = runGates({ ...inputs, champion: 'there is none yet' }, { minKindRows: 5000 });
  assert.deepEqual(few.skipped?.[0], { name: 'champion', reason: 'there is none yet' });
  assert.match(few.skipped?.[1]?.reason ?? '', /fewer than 5000 rows of 2 kinds: flood, tunnel/);
});

function inputsOf(model: DetectionModel, schema: LoadedSchema, table: LabelledTable): GateInputs {
  return {
    model,
    schema,
    table,
    modelBytes: Uint8Array.of(1, 2, 3),
    evaluation: evaluateModel(model, table),
    dataDigest: `sha256:${'0'.repeat(64)}`,
  };
}
