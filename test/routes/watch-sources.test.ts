import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { writeLab } from '../../src/lab/index.ts';
import { guardian, type Home, makeHome, startGuardian } from '../support/cli.ts';
import { requireData, requireTool, toolPath } from '../support/requires.ts';

const run = promisify(execFile);
const CAPTURE = 'pcap/ndpi/webex.pcap';
const EVE = 'zeek-suricata-argus-samples/test6-malicious.suricata.json.gz';

/** A command that reads until it is stopped, once it says so on stderr. */
async function startReading(home: Home, args: readonly string[]) {
  const child = startGuardian(home, args);
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  const reading = new Promise<void>((resolve, reject) => {
    child.stderr?.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
      if (/until Ctrl-C/.test(stderr)) resolve();
    });
    child.once('exit', (code) => reject(new Error(`ended with ${code}: ${stderr}`)));
  });
  await reading;
  return {
    /** Ctrl-C, then the exit code and the last JSON object of stdout. */
    async stop() {
      child.kill('SIGINT');
      const [exitCode] = await once(child, 'close');
      const last = JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '') as Record<string, unknown>;
      return { exitCode, last, stderr };
    },
  };
}

/** Resolves when the socket at this port holds nothing that was not read. */
async function drained(port: number): Promise<void> {
  const name = `:${port.toString(16).toUpperCase().padStart(4, '0')} `;
  for (;;) {
    const line = (await readFile('/proc/net/udp', 'latin1')).split('\n').find((each) => each.includes(name));
    if (line === undefined || /^\S+ \S+ \S+ \S+ [0-9A-F]{8}:00000000 /.test(line.trim())) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

describe('sources of guardian watch, end to end', { timeout: 120_000 }, () => {
  let home: Home;
  const lab = (name: string) => join(home.folder, name);
  before(async () => {
    home = await makeHome();
    await writeLab({ out: lab('lab.pcap'), labels: lab('lab.csv'), seed: 3, seconds: 60, scale: 0.3 });
    await writeFile(lab('quick.yaml'), 'training: { method: trees, rounds: 20 }\n');
    const { exitCode, stderr } = await guardian(home, [
      ...['train', lab('lab.pcap'), '--labels', lab('lab.csv'), '--schema', 'flow', '--name', 'flows'],
      ...['--config', lab('quick.yaml')],
    ]);
    assert.equal(exitCode, 0, stderr);
  });
  after(() => home.remove());

  const extractions = async () => {
    const { stdout } = await guardian(home, ['audit', 'show', '--limit', '500', '--json']);
    const objects = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { entries?: object[] });
    return objects
      .flatMap((object) => object.entries ?? [object])
      .map((entry) => JSON.stringify(entry))
      .filter((text) => text.includes('"features.extract"'));
  };

  for (const [protocol, version] of [
    ['netflow', 9],
    ['ipfix', 10],
  ] as const) {
    it(`watches ${protocol}:// until Ctrl-C, and ends whole`, async (t: TestContext) => {
      const capture = requireData(t, CAPTURE);
      if (capture === undefined || !requireTool(t, 'softflowd')) return;
      const port = 29_000 + version;
      const source = `${protocol}://127.0.0.1:${port}`;
      const watching = await startReading(home, ['watch', source, '--model', 'flows@1.0.0', '--json']);
      await run(toolPath('softflowd') ?? 'softflowd', [
        ...['-r', capture, '-n', `127.0.0.1:${port}`, '-v', String(version), '-d', '-c', 'none'],
        ...['-p', lab('softflowd.pid')],
      ]);
      await drained(port);
      const { exitCode, last, stderr } = await watching.stop();
      assert.equal(exitCode, 0, stderr);
      assert.equal(last.type, 'watch.result');
      assert.equal(last.sourceKind, protocol);
      assert.ok((last.flows as number) > 10, JSON.stringify(last));
      assert.equal(typeof last.auditEntry, 'number');
      const verdicts = Object.values(last.verdicts as Record<string, number>);
      assert.equal(
        verdicts.reduce((sum, n) => sum + n, 0),
        last.flows,
      );
    });
  }

  it('follows a log until Ctrl-C, from before its first line', async () => {
    const log = lab('followed.jsonl');
    const flows = lab('lab.jsonl');
    assert.equal((await guardian(home, ['extract', lab('lab.pcap'), '--out', flows])).exitCode, 0);
    const lines = (await readFile(flows, 'utf8')).split('\n').slice(0, 100);
    await writeFile(log, `${lines[0]}\n`);
    const args = ['watch', log, '--follow', '--model', 'flows@1.0.0', '--json'];
    const watching = await startReading(home, args);
    await appendFile(log, `${lines.slice(1).join('\n')}\n`);
    const { exitCode, last } = await watching.stop();
    assert.equal(exitCode, 0);
    assert.ok((last.flows as number) >= 1);
    await writeFile(lab('empty.jsonl'), '');
    const empty = ['watch', lab('empty.jsonl'), '--follow', '--model', 'flows@1.0.0'];
    const { exitCode: stopped } = await guardian(home, empty, { signal: AbortSignal.timeout(500) });
    assert.ok(stopped !== 0);
  });

  it('reads EVE with a model of the schema flow, and refuses it with one of flow-core', async (t: TestContext) => {
    const eve = requireData(t, EVE);
    if (eve === undefined) return;
    const { exitCode, objects } = await guardian(home, ['watch', eve, '--model', 'flows@1.0.0', '--json']);
    assert.equal(exitCode, 0);
    assert.ok((objects.at(-1)?.flows as number) > 0);
    const core = ['--schema', 'flow-core', '--name', 'core', '--config', lab('quick.yaml')];
    await guardian(home, ['train', lab('lab.pcap'), '--labels', lab('lab.csv'), ...core]);
    const refused = await guardian(home, ['watch', eve, '--model', 'core@1.0.0']);
    assert.equal(refused.exitCode, 2);
    assert.match(refused.stderr, /reads packets, zeek, csv, and these flows are eve/);
  });

  it('leaves an audit entry of what train, evaluate and watch read', async () => {
    const before = (await extractions()).length;
    const labels = ['--labels', lab('lab.csv')];
    assert.equal((await guardian(home, ['evaluate', 'flows@1.0.0', lab('lab.pcap'), ...labels])).exitCode, 0);
    const watched = await guardian(home, ['watch', lab('lab.pcap'), '--model', 'flows@1.0.0', '--json']);
    const stop = AbortSignal.abort();
    await guardian(home, ['watch', lab('lab.pcap'), '--model', 'flows@1.0.0'], { signal: stop });
    const told = await extractions();
    assert.equal(told.length, before + 3);
    assert.ok(told.some((text) => /train/.test(text)));
    const [evaluated, whole, cut] = told.slice(-3);
    assert.match(evaluated ?? '', /evaluate/);
    assert.match(whole ?? '', /watch.*"complete":true/);
    assert.match(cut ?? '', /watch.*"complete":false/);
    assert.match(whole ?? '', new RegExp(`"flows":${watched.objects.at(-1)?.flows}\\b`));
    for (const field of ['schema', 'rejects', 'limits', 'lost', 'malformed']) {
      assert.match(whole ?? '', new RegExp(`"${field}":`));
    }
  });
});
