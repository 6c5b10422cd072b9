import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { loadSchema } from '../../src/features/index.ts';
import { writeLab } from '../../src/lab/index.ts';
import { guardian, type Home, makeHome } from '../support/cli.ts';
import { requireData } from '../support/requires.ts';

interface ExtractResult {
  readonly type: string;
  readonly packets: number;
  readonly flows: number;
  readonly rejected: number;
  readonly malformed: Readonly<Record<string, number>>;
}

const FOLDERS = ['ndpi', 'slips', 'suricata-verify', 'tcpdump'];

describe('guardian extract', { timeout: 240_000 }, () => {
  let home: Home;
  before(async () => {
    home = await makeHome();
  });
  after(() => home.remove());

  it('ends without a crash or a hang on every shared capture, and names what is malformed', async (t) => {
    const root = requireData(t, 'pcap');
    if (root === undefined) return;
    const out = join(home.folder, 'flows.csv');
    const malformed = new Map<string, number>();
    let files = 0;
    let flows = 0;
    for (const folder of FOLDERS) {
      for (const name of readdirSync(join(root, folder)).sort()) {
        const { exitCode, objects, stderr } = await guardian(home, [
          ...['extract', join(root, folder, name), '--out', out, '--json'],
        ]);
        assert.equal(exitCode, 0, `${folder}/${name}: ${stderr}`);
        const result = objects.at(-1) as unknown as ExtractResult;
        assert.equal(result.type, 'extract.result');
        assert.equal(result.rejected, 0, `${folder}/${name}: flows the schema refuses`);
        const lines = (await readFile(out, 'utf8')).trimEnd().split('\n');
        assert.equal(lines.length, result.flows + 1, `${folder}/${name}`);
        for (const [code, count] of Object.entries(result.malformed)) {
          malformed.set(code, (malformed.get(code) ?? 0) + count);
        }
        files++;
        flows += result.flows;
        await rm(out);
      }
    }
    assert.equal(files, 2438);
    assert.ok(malformed.size >= 10);
    const named = [...malformed].map(([code, count]) => `${code} ${count}`).join(', ');
    t.diagnostic(`${files} captures, ${flows} flows; malformed: ${named}`);
  });

  it('writes flows that can be read again and give the same features', async () => {
    const pcap = join(home.folder, 'lab.pcap');
    await writeLab({ out: pcap, labels: join(home.folder, 'lab.csv'), seed: 5, seconds: 30, scale: 0.2 });
    const first = join(home.folder, 'first.csv');
    const second = join(home.folder, 'second.csv');
    assert.equal((await guardian(home, ['extract', pcap, '--out', first])).exitCode, 0);
    assert.equal((await guardian(home, ['extract', first, '--out', second])).exitCode, 0);
    const text = await readFile(first, 'utf8');
    assert.equal(await readFile(second, 'utf8'), text);
    const header = (text.split('\n')[0] ?? '').split(',');
    assert.equal(new Set(header).size, header.length, 'two columns of one name');
  });

  it('writes JSON lines with a flow and its named features', async () => {
    const pcap = join(home.folder, 'lab.pcap');
    const out = join(home.folder, 'flows.jsonl');
    const { exitCode, stdout } = await guardian(home, ['extract', pcap, '--out', out]);
    assert.equal(exitCode, 0);
    assert.match(stdout, /packets, .* flows in /);
    const line = JSON.parse((await readFile(out, 'utf8')).split('\n')[0] ?? '') as {
      flow: { sourceAddress: string };
      features: Record<string, unknown>;
    };
    const { schema } = await loadSchema('flow-core');
    assert.deepEqual(
      Object.keys(line.features),
      schema.columns.map(({ name }) => name),
    );
    assert.equal(typeof line.flow.sourceAddress, 'string');
  });

  it('leaves an entry in the audit log where there is state, and says so where there is none', async () => {
    const pcap = join(home.folder, 'lab.pcap');
    const without = await guardian(home, [
      'extract',
      pcap,
      '--out',
      join(home.folder, 'no.parquet'),
      '--json',
    ]);
    assert.equal(without.objects.at(-1)?.auditEntry, null);
    assert.match(without.stderr, /no audit entry: there is no state in/);
    await guardian(home, ['audit', 'verify']);
    const run = await guardian(home, ['extract', pcap, '--out', join(home.folder, 'with.parquet'), '--json']);
    const result = run.objects.at(-1);
    assert.equal(typeof result?.auditEntry, 'number', run.stderr);
    const { objects } = await guardian(home, ['audit', 'show', '--json']);
    const entries = objects.flatMap((object) => JSON.stringify(object).match(/features\.extract/g) ?? []);
    assert.equal(entries.length, 1);
    assert.ok(objects.some((object) => JSON.stringify(object).includes(String(result?.schema))));
  });

  it('overwrites nothing, and leaves nothing behind when it fails', async () => {
    const pcap = join(home.folder, 'lab.pcap');
    const kept = join(home.folder, 'kept.csv');
    await writeFile(kept, 'mine');
    const over = await guardian(home, ['extract', pcap, '--out', kept]);
    assert.equal(over.exitCode, 2);
    assert.equal(await readFile(kept, 'utf8'), 'mine');
    assert.equal((await guardian(home, ['extract', pcap, '--out', 'flows.xlsx'])).exitCode, 2);
    assert.equal((await guardian(home, ['extract', '/nowhere.pcap', '--out', 'x.csv'])).exitCode, 2);

    const stopped = join(home.folder, 'stopped.csv');
    const abort = new AbortController();
    abort.abort();
    const result = await guardian(home, ['extract', pcap, '--out', stopped], { signal: abort.signal });
    assert.equal(result.exitCode, 130);
    await assert.rejects(readFile(stopped), { code: 'ENOENT' });
  });
});
