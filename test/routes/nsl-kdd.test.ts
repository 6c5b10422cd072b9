import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { guardian, guardianApart, type Home, makeHome } from '../support/cli.ts';
import { requireData } from '../support/requires.ts';

interface Interval {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

interface TrainResult {
  readonly type: string;
  readonly digest: string;
  readonly version: string;
  readonly trainCpuSeconds: number;
  readonly metrics: Readonly<Record<string, Interval>>;
  readonly certificate: { readonly status: string; readonly reason: string };
}

/** Generous: the target is 30 CPU seconds for one run. */
describe('training on NSL-KDD', { timeout: 600_000 }, () => {
  let home: Home;
  before(async () => {
    home = await makeHome();
  });
  after(() => home.remove());

  it('reaches the peers on KDDTest+, twice with the same digest, and refuses 99.999 %', async (t) => {
    const train = requireData(t, 'nsl-kdd/KDDTrain+.txt.gz');
    const test = requireData(t, 'nsl-kdd/KDDTest+.txt.gz');
    if (train === undefined || test === undefined) return;
    const looks = join(home.folder, 'looks.md');
    const run = async () => {
      const files = [train, '--test', test, '--schema', 'nsl-kdd', '--name', 'nsl', '--looks', looks];
      const { exitCode, objects, stderr } = await guardianApart(home, ['train', ...files, '--json']);
      assert.equal(exitCode, 0, stderr);
      return objects.find(({ type }) => type === 'train.result') as unknown as TrainResult;
    };
    const first = await run();
    const second = await run();
    const { metrics } = first;
    for (const name of ['accuracy', 'precision', 'recall', 'f1', 'fpr', 'auc']) {
      const { value, low, high } = metrics[name] as Interval;
      t.diagnostic(`${name} ${value.toFixed(4)} (${low.toFixed(4)} to ${high.toFixed(4)})`);
      assert.ok(low <= value && value <= high && high - low < 0.05, name);
    }
    assert.ok((metrics.accuracy?.value ?? 0) >= 0.775);
    assert.ok((metrics.auc?.value ?? 0) >= 0.955);
    assert.equal(first.digest, second.digest);
    assert.deepEqual([first.version, second.version], ['1.0.0', '1.1.0']);
    assert.equal(first.certificate.status, 'refused');
    assert.match(first.certificate.reason, /wanting/);
    const lines = (await readFile(looks, 'utf8')).trim().split('\n');
    assert.equal(lines.length, 2);
    assert.match(
      lines[0] ?? '',
      /^\| \d{4}-\d\d-\d\d \| \S+ \| KDDTest\+\.txt\.gz \| .*accuracy 0\..* \| nothing \|$/,
    );
  });

  it('evaluates the published model as the registry holds it', async (t) => {
    const data = requireData(t, 'nsl-kdd/KDDTrain+_20Percent.txt.gz');
    if (data === undefined) return;
    const { exitCode, objects, stderr } = await guardian(home, ['evaluate', 'nsl@1.0.0', data, '--json']);
    assert.equal(exitCode, 0, stderr);
    const result = objects.at(-1) as unknown as TrainResult & { rows: number; kinds: unknown[] };
    assert.equal(result.type, 'evaluate.result');
    assert.equal(result.rows, 25_192);
    assert.ok(result.kinds.length > 10);
  });
});
