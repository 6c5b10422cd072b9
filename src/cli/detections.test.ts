import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { type CommandResult, guardian, type Home, makeHome } from '../../test/support/cli.ts';
import { makeJudged } from '../../test/support/judged.ts';
import { configurationSchema } from '../configuration.ts';
import { openGuardian } from '../guardian/index.ts';

let home: Home;
const uids: string[] = [];
const run = (...args: string[]) => guardian(home, args);
const last = ({ objects }: CommandResult) => objects.at(-1) as Record<string, unknown>;

/** Raises a finding a source in the state of `home`. */
async function raise(sources: readonly string[]): Promise<void> {
  const own = await openGuardian({
    stateFolder: join(home.folder, 'state', 'ai-guardian'),
    configFolder: join(home.folder, 'config', 'ai-guardian'),
    config: configurationSchema.parse({}),
    origins: new Map(),
  });
  try {
    for (const sourceAddress of sources) {
      const [found] = await own.detections.record([makeJudged({ sourceAddress }, { kind: 'exfiltration' })]);
      uids.push(found?.uid ?? assert.fail('no finding'));
    }
  } finally {
    await own.close();
  }
}

before(async () => {
  home = await makeHome();
});
after(() => home.remove());

suite('guardian detections', () => {
  test('says nothing of a state in which nothing was found', async () => {
    const listed = await run('detections', 'list', '--json');
    assert.equal(listed.exitCode, 0, listed.stderr);
    assert.deepEqual(last(listed), { type: 'detections.result', detections: [] });
    assert.deepEqual(last(await run('detections', 'accuracy', '--json')).models, []);
  });

  test('lists the newest first, shows one whole, and refuses one that nobody raised', async () => {
    await raise(['10.0.0.5', '10.0.0.6', '10.0.0.7']);
    const listed = last(await run('detections', 'list', '--json')).detections as { uid: string }[];
    assert.deepEqual(
      listed.map(({ uid }) => uid),
      [...uids].reverse(),
    );
    const few = await run('detections', 'list', '--limit', '2');
    const lines = few.stdout.trim().split('\n');
    assert.equal(lines.length, 2);
    assert.ok(lines[0]?.startsWith(`${uids[2]} `) && lines[0].includes('10.0.0.7'));
    assert.equal((await run('detections', 'list', '--limit', '0')).exitCode, 2);

    const shown = await run('detections', 'show', uids[0] ?? '');
    assert.match(shown.stdout, /"address": "10\.0\.0\.5"/);
    const object = last(await run('detections', 'show', uids[0] ?? '', '--json'));
    assert.equal((object.detection as { uid: string }).uid, uids[0]);
    const unknown = await run('detections', 'show', 'nobody');
    assert.notEqual(unknown.exitCode, 0);
    assert.match(unknown.stderr, /server\.detection-unknown/);
  });

  test('takes verdicts, shows them, and measures accuracy by them', async () => {
    const [first = '', second = ''] = uids;
    const said = await run('detections', 'verdict', first, 'benign-trigger', '--note', 'our scanner');
    assert.match(said.stdout, new RegExp(`${first}: benign-trigger \\(raised by flow@1\\.0\\.0\\)`));
    await run('detections', 'verdict', second, 'true');
    const listed = await run('detections', 'list');
    assert.match(listed.stdout, new RegExp(`^${first} .*\\[benign-trigger\\]$`, 'm'));
    assert.equal(listed.stdout.match(/\[[a-z-]+\]$/gm)?.length, 2);
    const { detection } = last(await run('detections', 'show', first, '--json')) as {
      detection: { judgement: { note: string } };
    };
    assert.equal(detection.judgement.note, 'our scanner');

    const measured = await run('detections', 'accuracy');
    assert.match(measured.stdout, /^flow@1\.0\.0 +2 +1 +1 +0 +50\.0 % +1\.3 % to 98\.7 %$/m);
    for (const args of [
      [first, 'maybe'],
      ['nobody', 'true'],
    ]) {
      const refused = await run('detections', 'verdict', ...args);
      assert.notEqual(refused.exitCode, 0);
    }
    assert.equal((await run('detections', 'verdict', first)).exitCode, 2);
  });
});

suite('guardian suppressions', () => {
  test('adds a rule that is listed with its end, and removes it; both stand in the log', async () => {
    const before = Date.now();
    const added = await run(
      ...['suppressions', 'add', '--kind', 'port-scan', '--source', '10.0.9.0/24'],
      ...['--hours', '8', '--reason', 'audit of the network', '--json'],
    );
    assert.equal(added.exitCode, 0, added.stderr);
    const { id, untilMs } = last(added) as { id: string; untilMs: number };
    assert.ok(untilMs >= before + 8 * 3_600_000 && untilMs <= Date.now() + 8 * 3_600_000);
    const listed = await run('suppressions', 'list');
    const until = new Date(untilMs).toISOString();
    const row = `${id} +port-scan +10\\.0\\.9\\.0/24 +any +${until} +in force +audit of the network`;
    assert.match(listed.stdout, new RegExp(row));

    const removed = await run('suppressions', 'remove', id);
    assert.equal(removed.stdout.trim(), `${id} is removed`);
    assert.deepEqual(last(await run('suppressions', 'list', '--json')).rules, []);
    assert.notEqual((await run('suppressions', 'remove', id)).exitCode, 0, 'twice');
    const { stdout } = await run('audit', 'show', '--json');
    for (const action of ['suppression.add', 'suppression.remove'])
      assert.ok(stdout.includes(action), action);
  });

  test('refuses a rule without a condition, an end or a reason, and one that fits no network', async () => {
    const add = (...args: string[]) => run('suppressions', 'add', ...args);
    const ends = ['--hours', '1'];
    const why = ['--reason', 'test'];
    assert.equal((await add('--kind', 'port-scan', ...ends)).exitCode, 2);
    assert.equal((await add('--kind', 'port-scan', ...why)).exitCode, 2);
    assert.equal((await add('--kind', 'port-scan', ...why, '--hours', '8761')).exitCode, 2);
    for (const args of [[], ['--source', 'everywhere']]) {
      const refused = await add(...args, ...ends, ...why);
      assert.notEqual(refused.exitCode, 0, args.join(' '));
    }
    assert.deepEqual(last(await run('suppressions', 'list', '--json')).rules, []);
  });

  test('prints a reason that was typed to mislead a terminal as what it is', async () => {
    await run(...['suppressions', 'add', '--kind', 'x', '--hours', '1', '--reason', 'a\u001b[2Jb\u202ec']);
    const { stdout } = await run('suppressions', 'list');
    assert.ok(!stdout.includes('\u001b[2J') && !stdout.includes('\u202e'));
  });
});
