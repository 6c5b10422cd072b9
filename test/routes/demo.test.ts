import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { writeLab } from '../../src/lab/index.ts';
import { stateFolder, stateLayout } from '../../src/storage/index.ts';
import {
  guardian,
  guardianApart,
  type Home,
  makeHome,
  startGuardian,
  waitForExit,
  waitForObject,
} from '../support/cli.ts';
import { OcsfSchema } from '../support/ocsf.ts';
import { requireData } from '../support/requires.ts';
import { DEVELOPMENT_CAPTURES, ORDINARY_CAPTURES } from './ordinary-captures.ts';

interface DemoResult {
  readonly packets: number;
  readonly flows: number;
  readonly detections: readonly { attack: string; precision: number; recall: number }[];
  readonly fpr: number;
  readonly audit: { size: number; verified: boolean };
  readonly latencyMs: { p50: number; p99: number };
}

/** Attacks of real captures that the demo's model has to find, by the kinds a reader would accept. */
const REAL_ATTACKS: readonly (readonly [capture: string, kinds: readonly string[]])[] = [
  ['slips/test12-icmp-portscan.pcap', ['host-sweep', 'port-scan', 'slow-scan']],
  ['slips/test19-malicious-ssh__malicious-ssh-bruteforce.pcap', ['password-guessing']],
  ['ndpi/synscan.pcap', ['port-scan', 'slow-scan', 'host-sweep']],
];

describe('the demonstration, and what its model finds in real traffic', { timeout: 400_000 }, () => {
  let home: Home;
  let demo: DemoResult;

  before(async () => {
    home = await makeHome();
    const result = await guardianApart(home, ['demo', '--once', '--json']);
    assert.equal(result.exitCode, 0, result.stderr);
    demo = result.objects.at(-1) as unknown as DemoResult;
  });
  after(() => home.remove());

  it('finds at least half of each of nine attacks in unseen traffic at 1 % false alarms', (t) => {
    assert.ok(demo.detections.length >= 6);
    for (const { attack, precision, recall } of demo.detections) {
      t.diagnostic(`${attack}: recall ${recall.toFixed(3)}, precision ${precision.toFixed(3)}`);
      assert.ok(recall >= 0.5, `${attack}: recall ${recall}`);
      assert.ok(precision > 0.5, `${attack}: precision ${precision}`);
    }
    t.diagnostic(`FPR ${demo.fpr.toFixed(5)}, ${demo.flows} flows, ${demo.packets} packets`);
    assert.ok(demo.fpr <= 0.01);
    assert.equal(demo.audit.verified, true);
    assert.ok(demo.latencyMs.p50 > 0 && demo.latencyMs.p50 <= demo.latencyMs.p99);
  });

  for (const [capture, kinds] of REAL_ATTACKS) {
    it(`finds the attack of ${capture}, as OCSF findings that keep the schema`, async (t) => {
      const path = requireData(t, `pcap/${capture}`);
      if (path === undefined) return;
      const { exitCode, objects, stderr } = await guardian(home, ['watch', path, '--json']);
      assert.equal(exitCode, 0, stderr);
      const findings = objects.slice(0, -1);
      const named = findings.map((finding) => kindOf(finding));
      assert.ok(
        named.some((kind) => kinds.includes(kind)),
        `expected one of ${kinds.join(', ')}, got ${named.join(', ') || 'nothing'}`,
      );
      const vectors = requireData(t, 'vectors/ocsf');
      if (vectors === undefined) return;
      const schema = new OcsfSchema(vectors);
      for (const finding of findings) assert.deepEqual(schema.checkDetectionFinding(finding), []);
    });
  }

  it('finds a SYN flood of the lab that is made for this test', async () => {
    const out = join(home.folder, 'flood.pcap');
    await writeLab({
      out,
      labels: join(home.folder, 'flood.csv'),
      seed: 99,
      seconds: 120,
      attacks: ['syn-flood'],
      benign: false,
    });
    const { objects, stdout } = await guardian(home, ['watch', out, '--json']);
    assert.ok(
      objects.slice(0, -1).some((finding) => kindOf(finding) === 'syn-flood'),
      stdout.slice(0, 500),
    );
    const readable = await guardian(home, ['watch', out]);
    assert.match(readable.stdout, /syn-flood .* T1498\.001/);
    const stopped = await guardian(home, ['watch', out, '--json'], { signal: AbortSignal.abort() });
    assert.equal(stopped.exitCode, 130);
    assert.equal(stopped.objects.at(-1)?.type, 'watch.result');
  });

  const ordinary = [
    ['fifty ordinary captures', ORDINARY_CAPTURES],
    ['fifty more that development has seen', DEVELOPMENT_CAPTURES],
  ] as const;
  for (const [name, captures] of ordinary) {
    it(`raises at most one finding per hundred flows on ${name}`, async (t) => {
      if (requireData(t, 'pcap') === undefined) return;
      assert.equal(new Set(captures).size, 50);
      let flows = 0;
      const raised: string[] = [];
      for (const capture of captures) {
        const path = requireData(t, `pcap/${capture}`);
        if (path === undefined) return;
        const { exitCode, objects, stderr } = await guardian(home, ['watch', path, '--json']);
        assert.equal(exitCode, 0, stderr);
        flows += (objects.at(-1) as { flows: number }).flows;
        for (const finding of objects) {
          if (finding.activity_id === 1) raised.push(`${capture}: ${finding.message}`);
        }
      }
      for (const line of raised) t.diagnostic(line);
      t.diagnostic(`${raised.length} findings on ${flows} flows`);
      assert.ok(raised.length <= flows / 100, `${raised.length} findings on ${flows} flows`);
    });
  }

  it('watches a Zeek conn.log', async (t) => {
    const path = requireData(t, 'zeek-suricata-argus-samples/port-scans__horizontal__conn.log.gz');
    if (path === undefined) return;
    const { exitCode, objects } = await guardian(home, ['watch', path, '--json']);
    assert.equal(exitCode, 0);
    assert.equal(objects.at(-1)?.sourceKind, 'zeek');
    assert.equal(objects.at(-1)?.flows, 41);
  });

  it('refuses to enforce while nothing could act, and a source that is not traffic', async () => {
    const source = join(home.folder, 'flood.pcap');
    const enforce = await guardian(home, ['watch', source, '--respond', 'enforce']);
    assert.equal(enforce.exitCode, 3);
    assert.match(enforce.stderr, /response\.no-actuator/);
    const text = join(home.folder, 'notes.txt');
    await writeFile(text, 'no traffic');
    const unknown = await guardian(home, ['watch', text]);
    assert.equal(unknown.exitCode, 2);
    assert.match(unknown.stderr, /traffic\.unknown-format/);
  });

  it('promotes over the socket of a running server, which serves the new model at once', async () => {
    const pcap = join(home.folder, 'second.pcap');
    const labels = join(home.folder, 'second.csv');
    const lab = ['lab', '--out', pcap, '--labels', labels, '--seed', '31', '--seconds', '120'];
    assert.equal((await guardian(home, lab)).exitCode, 0);
    const second = await guardianApart(
      home,
      ['train', pcap, '--labels', labels, '--schema', 'flow-core', '--name', 'flow', '--json'],
      // Trees, as the demonstration's own: on two minutes of traffic a hybrid fails its gates.
      {
        GUARDIAN_TRAINING_METHOD: 'trees',
        GUARDIAN_TRAINING_KINDS: 'true',
        GUARDIAN_TRAINING_ROUNDS: '40',
      },
    );
    assert.equal(second.exitCode, 0, second.stderr);
    assert.equal((await guardian(home, ['models', 'promote', 'flow@1.1.0'])).exitCode, 0);
    const server = startGuardian(home, ['serve', '--port', '0', '--json']);
    try {
      const { url } = await waitForObject(server, 'serve.listening');
      const key = (await readFile(stateLayout(stateFolder(home.environment)).adminKey, 'utf8')).trim();
      const served = async () => {
        const response = await fetch(`${url}/v2/models/flow`, {
          headers: { authorization: `Bearer ${key}` },
        });
        return ((await response.json()) as { versions: string[] }).versions;
      };
      assert.deepEqual(await served(), ['1.1.0']);
      const back = await guardian(home, ['models', 'rollback', 'flow', '--json']);
      assert.equal(back.exitCode, 0, back.stderr);
      assert.deepEqual(await served(), ['1.0.0']);
      const promoted = await guardian(home, ['models', 'promote', 'flow@1.1.0', '--json']);
      assert.equal(promoted.exitCode, 0, promoted.stderr);
      assert.deepEqual(await served(), ['1.1.0']);
      const watched = await guardian(home, ['watch', join(home.folder, 'flood.pcap'), '--json']);
      assert.equal(watched.exitCode, 0, watched.stderr);
      assert.ok(watched.objects.some((finding) => kindOf(finding) === 'syn-flood'));
      const verified = await guardian(home, ['audit', 'verify', '--json']);
      assert.equal(verified.exitCode, 0, verified.stderr);
      assert.equal(verified.objects.at(-1)?.verified, true);
    } finally {
      server.kill('SIGINT');
      assert.equal(await waitForExit(server), 0);
    }
  });

  it('answers one flipped byte of a stored model or of the log with exit code 1', async () => {
    const layout = stateLayout(stateFolder(home.environment));
    const flip = async (path: string) => {
      const bytes = await readFile(path);
      const at = bytes.length >> 1;
      bytes[at] = (bytes[at] as number) ^ 1;
      await writeFile(path, bytes);
    };
    const blobs = await filesBelow(layout.blobs);
    const weights = blobs.filter((path) => path.includes('1.1.0') && path.includes('model.agm'));
    assert.equal(weights.length, 1);
    await flip(weights[0] as string);
    const watch = await guardian(home, ['watch', join(home.folder, 'flood.pcap')]);
    assert.equal(watch.exitCode, 1);
    assert.match(watch.stderr, /\((registry|crypto)\./);
    await flip(weights[0] as string);

    const entries = join(layout.audit, 'tile/entries/000');
    await flip(entries);
    const verify = await guardian(home, ['audit', 'verify']);
    assert.equal(verify.exitCode, 1);
    assert.match(verify.stderr, /\(audit\./);
    await flip(entries);
    assert.equal((await guardian(home, ['audit', 'verify'])).exitCode, 0);
  });
});

function kindOf(finding: Record<string, unknown>): string {
  const info = finding.finding_info as { types?: readonly string[] } | undefined;
  return info?.types?.[0] ?? '';
}

async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}
