import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { writeLab } from '../../src/lab/index.ts';
import { openBytes } from '../../src/traffic/byte-source.ts';
import { newCounters } from '../../src/traffic/counters.ts';
import { openFlowSource } from '../../src/traffic/index.ts';
import { PacketSource } from '../../src/traffic/packet-source.ts';
import { guardian, type Home, makeHome } from '../support/cli.ts';
import { requireData } from '../support/requires.ts';
import { vectorsOf } from '../support/vectors.ts';

const SCHEMAS = ['flow-core', 'flow'];
const SEED = 20_261_123;

/** Chunks of the sizes that `next` gives. */
async function* pieces(bytes: Uint8Array, next: () => number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; ) {
    const size = next();
    // A copy: whoever reads may wipe it.
    yield Uint8Array.from(bytes.subarray(at, at + size));
    at += size;
  }
}

async function piped(bytes: Uint8Array, next: () => number): Promise<PacketSource> {
  const counters = newCounters();
  const source = await openBytes(pieces(bytes, next), () => assert.fail('a damage'));
  return new PacketSource(source, { meter: {} }, counters);
}

function randomSizes(): () => number {
  let state = SEED;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return 1 + ((state >>> 8) % (state & 1 ? 70 : 9_000));
  };
}

describe('the features of one capture', { timeout: 120_000 }, () => {
  let home: Home;
  let lab: string;
  before(async () => {
    home = await makeHome();
    lab = join(home.folder, 'lab.pcap');
    await writeLab({ out: lab, labels: join(home.folder, 'lab.csv'), seed: 9, seconds: 20, scale: 0.1 });
  });
  after(() => home.remove());

  it('are the same bytes from a file, from a pipe byte by byte, and in chunks of any size', async (t) => {
    const root = requireData(t, 'pcap');
    if (root === undefined) return;
    const small = readdirSync(join(root, 'ndpi'))
      .map((name) => join(root, 'ndpi', name))
      .filter((path) => statSync(path).size < 20_000)
      .filter((_, i) => i % 16 === 0);
    assert.ok(small.length >= 8, 'expected captures of many kinds');
    for (const path of [lab, ...small]) {
      const bytes = readFileSync(path);
      for (const schema of SCHEMAS) {
        const expected = await vectorsOf(await openFlowSource(path), schema);
        const chunked = await vectorsOf(await piped(bytes, randomSizes()), schema);
        assert.ok(chunked.bytes.equals(expected.bytes), `${path}: chunks, ${schema}`);
        assert.deepEqual(chunked.flows, expected.flows);
        if (bytes.length > 20_000 || schema === 'flow-core') continue;
        const bytewise = await vectorsOf(await piped(bytes, () => 1), schema);
        assert.ok(bytewise.bytes.equals(expected.bytes), `${path}: byte by byte, ${schema}`);
      }
    }
    t.diagnostic(`${small.length + 1} captures; seed ${SEED}`);
  });

  for (const extension of ['csv', 'jsonl', 'parquet']) {
    it(`are the same bytes through \`extract --out\` ${extension} and back`, async () => {
      for (const schema of SCHEMAS) {
        const out = join(home.folder, `${schema}.${extension}`);
        const { exitCode, stderr, objects } = await guardian(home, [
          ...['extract', lab, '--out', out, '--schema', schema, '--json'],
        ]);
        assert.equal(exitCode, 0, stderr);
        const expected = await vectorsOf(await openFlowSource(lab), schema);
        assert.equal(objects.at(-1)?.flows, expected.flows.length);
        const again = await vectorsOf(await openFlowSource(out), schema);
        assert.ok(expected.flows.length > 100);
        assert.ok(again.bytes.equals(expected.bytes), schema);
      }
    });
  }
});
