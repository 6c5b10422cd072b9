import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { makeFlow } from '../../../test/support/judged.ts';
import { TrafficError } from '../errors.ts';
import { openFlowSource } from '../open-flow-source.ts';
import { FlowParquetWriter } from './flow-parquet-writer.ts';
import { ParquetFile } from './parquet-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'parquet-'));
after(() => rmSync(folder, { recursive: true }));

const SEED = 7_041;
const FLOWS = Array.from({ length: 200 }, (_, i) =>
  makeFlow({
    sourcePort: i,
    ...(i % 3 === 0 && { sourceAddress: '2001:db8::1', destinationAddress: '2001:db8::2' }),
    measures: { forward_iat_mean_ms: i / 3, dns_queries: i },
    handshakeSeen: i % 2 === 0,
    ...(i % 5 === 0 && { tunnel: { kind: 'vxlan' as const, id: i } }),
  }),
);

async function written(name: string): Promise<string> {
  const path = join(folder, name);
  const writer = await FlowParquetWriter.create(path, ['feature_a', 'feature_b']);
  const values = Float32Array.from({ length: FLOWS.length * 2 }, (_, i) =>
    i % 7 === 0 ? Number.NaN : i / 3,
  );
  await writer.write(FLOWS, values);
  await writer.close();
  return path;
}

test('gives back every flow and every float as it was written', async () => {
  const path = await written('whole.parquet');
  const source = await openFlowSource(path);
  const flows = [];
  for await (const batch of source.batches()) flows.push(...batch.records());
  assert.deepEqual(flows, FLOWS);
  const file = await ParquetFile.open(path);
  for await (const group of file.groups(['feature_b'])) {
    const expected = FLOWS.map((_, i) => ((i * 2 + 1) % 7 === 0 ? Number.NaN : Math.fround((i * 2 + 1) / 3)));
    assert.deepEqual(group.get('feature_b'), expected);
  }
  await file.close();
});

test('holds to its limits, and does not write over a file', async () => {
  const path = await written('limits.parquet');
  for (const limits of [{ maxRows: 199 }, { maxGroupRows: 10 }, { maxColumns: 5 }, { maxFooterBytes: 100 }]) {
    await assert.rejects(ParquetFile.open(path, { limits }), { code: 'traffic.parquet-malformed' });
  }
  await assert.rejects(FlowParquetWriter.create(path, []), { code: 'EEXIST' });
});

test('a file with flipped bits or a cut gives flows or a named error, within memory', async () => {
  const bytes = new Uint8Array(readFileSync(await written('sound.parquet')));
  let state = SEED;
  const random = (below: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  let refused = 0;
  for (let i = 0; i < 24; i++) {
    const broken = Uint8Array.from(i % 5 === 0 ? bytes.subarray(0, random(bytes.length)) : bytes);
    for (let n = 1 + random(4); n > 0 && broken.length > 8; n--) {
      const at = 4 + random(broken.length - 4);
      broken[at] = (broken[at] as number) ^ (1 << random(8));
    }
    const path = join(folder, 'broken.parquet');
    writeFileSync(path, broken);
    try {
      const file = await ParquetFile.open(path, { patienceMs: 3_000 });
      for await (const group of file.groups(file.columns)) assert.ok(group.size > 0);
      await file.close();
    } catch (error) {
      assert.ok(error instanceof TrafficError, `seed ${SEED}, input ${i}: ${String(error)}`);
      refused++;
    }
  }
  assert.ok(refused > 4, `${refused} refused`);
});
