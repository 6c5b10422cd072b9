import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { requireTool } from '../../test/support/requires.ts';
import { FlowMeter, type FlowRecord } from '../traffic/index.ts';
import { ATTACK_KINDS, generate, LabError, LabLabels, labPackets, type Recipe, writeLab } from './index.ts';

const SMALL: Recipe = { seed: 11, seconds: 60, scale: 0.3 };

function digestOf(recipe: Recipe): string {
  const hash = createHash('sha256');
  for (const { bytes, timeMs, wireLength } of labPackets(recipe))
    hash.update(bytes).update(`${timeMs} ${wireLength}`);
  return hash.digest('hex');
}

function meter(recipe: Recipe): { flows: FlowRecord[]; labels: LabLabels } {
  const run = generate(recipe);
  const flowMeter = new FlowMeter();
  for (const { bytes, timeMs, wireLength } of run.packets()) flowMeter.add(bytes, 1, timeMs, wireLength);
  return { flows: flowMeter.finish(), labels: run.labels() };
}

function withFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'guardian-lab-'));
  return work(folder).finally(() => rmSync(folder, { recursive: true }));
}

test('the same seed gives the same packets, another seed gives others', () => {
  assert.equal(digestOf(SMALL), digestOf(SMALL));
  assert.notEqual(digestOf(SMALL), digestOf({ ...SMALL, seed: 12 }));
});

test('packets come in order of time and inside the recipe', () => {
  let last = 0;
  let packets = 0;
  const run = generate(SMALL);
  for (const { bytes, timeMs, wireLength } of run.packets()) {
    assert.ok(timeMs >= last);
    assert.ok(bytes.length <= wireLength && wireLength <= 1514, `${bytes.length} of ${wireLength}`);
    last = timeMs;
    packets++;
  }
  assert.ok(last < run.originMs + 60_000);
  assert.ok(packets > 10_000);
});

test('every kind of attack is there, and labels join to every flow', () => {
  const { flows, labels } = meter({ seed: 3, seconds: 120, scale: 0.5 });
  const counts = new Map<string, number>();
  let joined = 0;
  for (const flow of flows) {
    const label = labels.find(flow);
    if (label !== undefined) joined++;
    counts.set(labels.labelOf(flow), (counts.get(labels.labelOf(flow)) ?? 0) + 1);
  }
  assert.ok(joined / flows.length >= 0.99, `${joined} of ${flows.length}`);
  for (const kind of ATTACK_KINDS) assert.ok((counts.get(kind) ?? 0) >= 10, `${kind}: ${counts.get(kind)}`);
  assert.ok((counts.get('benign') ?? 0) > 1000);
});

test('a recipe of one attack holds nothing else', () => {
  const { flows, labels } = meter({ seed: 5, seconds: 30, attacks: ['syn-flood'], benign: false });
  assert.ok(flows.length >= 150);
  assert.deepEqual(new Set(flows.map((flow) => labels.labelOf(flow))), new Set(['syn-flood']));
});

test('a file of the lab is the same twice, and its labels file joins as the run itself does', async () => {
  await withFolder(async (folder) => {
    const path = (name: string): string => join(folder, name);
    const shares: number[] = [];
    const summary = await writeLab({
      ...SMALL,
      out: path('a.pcap'),
      labels: path('a.csv'),
      onProgress: (share) => shares.push(share),
    });
    await writeLab({ ...SMALL, out: path('b.pcap'), labels: path('b.csv') });
    assert.ok(readFileSync(path('a.pcap')).equals(readFileSync(path('b.pcap'))));
    assert.equal(readFileSync(path('a.csv'), 'utf8'), readFileSync(path('b.csv'), 'utf8'));
    assert.equal(shares.at(-1), 1);
    const fromFile = await LabLabels.read(path('a.csv'));
    const { flows, labels } = meter(SMALL);
    assert.equal(fromFile.size, summary.conversations);
    assert.equal(labels.size, summary.conversations);
    for (const flow of flows) {
      assert.equal(fromFile.find(flow), labels.find(flow));
      assert.equal(fromFile.weightOf(flow), labels.weightOf(flow));
    }
    const faint = flows.filter((flow) => labels.weightOf(flow) < 1);
    assert.ok(faint.length > 0 && faint.every((flow) => labels.labelOf(flow) !== 'benign'));
  });
});

test('tshark reads a file of the lab without a complaint', async (t) => {
  if (!requireTool(t, 'tshark')) return;
  await withFolder(async (folder) => {
    const out = join(folder, 'a.pcap');
    const summary = await writeLab({ seed: 4, seconds: 20, scale: 0.1, out, labels: join(folder, 'a.csv') });
    const fields = ['-T', 'fields', '-e', 'frame.number', '-e', 'ip.checksum.status'];
    const lines = execFileSync('tshark', ['-n', '-r', out, '-o', 'ip.check_checksum:TRUE', ...fields], {
      maxBuffer: 1 << 28,
      stdio: ['ignore', 'pipe', 'ignore'],
    })
      .toString()
      .trimEnd()
      .split('\n');
    assert.equal(lines.length, summary.packets);
    assert.ok(lines.every((line) => !line.split('\t')[1]?.includes('0')));
  });
});

test('refuses a recipe out of range and a labels file that is none', async () => {
  const refused = (recipe: Recipe): void => {
    assert.throws(
      () => generate(recipe),
      (error) => error instanceof LabError && error.code === 'lab.recipe-invalid',
    );
  };
  refused({ seed: 1, seconds: 0 });
  refused({ seed: 1, seconds: Number.NaN });
  refused({ seed: 1, seconds: 10, scale: 0 });
  refused({ seed: 1, seconds: 10, attacks: ['port-scan', 'nonsense' as 'port-scan'] });
  await assert.rejects(LabLabels.read(new URL('./index.ts', import.meta.url).pathname), {
    code: 'lab.labels-malformed',
  });
});

test('writing stops when it is told to, and leaves no half file', async () => {
  await withFolder(async (folder) => {
    const signal = AbortSignal.abort();
    await assert.rejects(writeLab({ ...SMALL, out: join(folder, 'a'), labels: join(folder, 'b'), signal }), {
      name: 'AbortError',
    });
    assert.deepEqual(readdirSync(folder), []);
  });
});

test('a capture without its labels is taken away again', async () => {
  await withFolder(async (folder) => {
    const labels = join(folder, 'missing', 'b');
    await assert.rejects(writeLab({ seed: 4, seconds: 5, scale: 0.1, out: join(folder, 'a'), labels }), {
      code: 'ENOENT',
    });
    assert.deepEqual(readdirSync(folder), []);
  });
});
