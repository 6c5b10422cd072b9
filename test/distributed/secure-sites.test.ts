import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type BusValue, connectNats } from '../../src/bus/index.ts';
import { loadSchema, readTable } from '../../src/features/index.ts';
import {
  memberRows,
  type PublishedSecureRecord,
  participantsOf,
  replayBooster,
  resolveTrainingConfig,
  trainDetector,
} from '../../src/training/index.ts';
import { guardian, type Home, startGuardian, waitForExit, waitForObject } from '../support/cli.ts';
import { startNats } from '../support/nats.ts';
import { requireTool } from '../support/requires.ts';
import { makeSecureSites } from '../support/secure-sites.ts';

test('sites train over NATS, also after a member was killed in the middle of it', async (t) => {
  if (!requireTool(t, 'nats-server')) return;
  const nats = await startNats();
  const sites = await makeSecureSites(3);
  const roster = await sites.sign('first');
  const trusted = ['--bus', nats.server, '--roster', roster, '--approver', sites.approverFile];
  const worker = (home: Home, more: readonly string[] = []) => [
    ...['worker', '--secure', '--schema', sites.schema, '--config', sites.config, '--json'],
    ...[...trusted, '--data', sites.data(home), ...more],
  ];
  const [first, second, third] = [...sites.members.values()] as [Home, Home, Home];
  const stop = new AbortController();
  const here = [first, second].map((home) => guardian(home, worker(home), { signal: stop.signal }));
  let child: ChildProcess | undefined;
  const start = async () => {
    child = startGuardian(third, worker(third));
    return await waitForObject(child, 'worker.ready');
  };
  const train = () =>
    guardian(sites.coordinator, [
      ...['train', sites.data(sites.coordinator), '--schema', sites.schema, '--config', sites.config],
      ...['--name', 'joint', '--seed', '3', '--secure', '--json', '--answer-seconds', '3', ...trusted],
    ]);
  const bus = await connectNats({ server: nats.server });
  try {
    assert.deepEqual((await start()).id, 'site-2');
    const sealed = join(
      third.environment.XDG_STATE_HOME as string,
      'ai-guardian/checkpoints/members/member-first.sealed',
    );
    // What a run has lies on the bus: a tree is there when the member dies.
    const watched = new AbortController();
    const trees = secondState(bus.watch('train.first', watched.signal));
    const broken = train();
    await Promise.race([trees, broken.then(({ stderr }) => assert.fail(stderr))]);
    watched.abort();
    child?.kill('SIGKILL');
    await waitForExit(child as ChildProcess);
    const before = readFileSync(sealed);
    assert.ok(!before.includes('site-0'), 'what was answered is sealed');
    await start();
    const { stderr, exitCode } = await broken;
    assert.notEqual(exitCode, 0);
    assert.match(stderr, /site-2 refuses: |no answer from site-2/);

    const { objects, stderr: said } = await train();
    const result = objects.at(-1) as { type: string; modelDigest: string; secure: PublishedSecureRecord };
    assert.equal(result.type, 'train.result', said);
    assert.equal(result.secure.rehearsal, false);
    assert.deepEqual(Object.keys(result.secure.rows), ['site-0', 'site-1', 'site-2']);
    assert.equal(await replayed(sites, result.secure), result.modelDigest);

    // An older copy of what it answered is none: it would answer again.
    child?.kill('SIGKILL');
    await waitForExit(child as ChildProcess);
    writeFileSync(sealed, before);
    const rolledBack = await guardian(third, worker(third));
    assert.match(rolledBack.stderr, /is number \d+, and the last one was number \d+/);
    rmSync(sealed);
    const gone = await guardian(third, worker(third));
    assert.match(gone.stderr, /what it answered is not known any more/);
  } finally {
    child?.kill('SIGKILL');
    stop.abort();
    await Promise.all(here);
    await bus.close();
    await nats.close();
    await sites.remove();
  }
});

/** The first state is that of the labels, the second has a tree. */
async function secondState(values: AsyncIterable<BusValue>): Promise<void> {
  let states = 0;
  for await (const { key } of values) if (key === 'train.first.state' && ++states === 2) return;
}

/** Digest of the model that the rows of all sites give by the list of who took part. */
async function replayed(
  sites: Awaited<ReturnType<typeof makeSecureSites>>,
  record: PublishedSecureRecord,
): Promise<string> {
  const schema = await loadSchema(sites.schema);
  const table = await readTable(sites.data(sites.coordinator), schema);
  const config = resolveTrainingConfig({
    method: 'trees',
    rounds: 8,
    maxLeaves: 8,
    treeRounds: 4,
    patience: 3,
  });
  const own = new Map<string, ReturnType<typeof memberRows>>();
  for (const [id, home] of sites.members)
    own.set(id, memberRows(await readTable(sites.data(home), schema), config));
  const { digest } = await trainDetector({
    ...{ table, schema, sourceKinds: ['table'], config, seed: 3, isHeldOut: true },
    booster: (bins, options) => {
      const { binning } = bins.binned;
      const rows = new Map([...own].map(([id, { encode }]) => [id, encode(binning, record.maxWeight)]));
      const { run, minCellRows, rows: counted } = record;
      const participants = participantsOf(record);
      return replayBooster(rows, { run, minCellRows, rows: counted, participants })(bins, options);
    },
  });
  return digest;
}
