import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { loadSchema, readTable } from '../../src/features/index.ts';
import {
  cutForRehearsal,
  memberRows,
  type PublishedSecureRecord,
  participantsOf,
  publishedRecord,
  replayBooster,
  resolveTrainingConfig,
  trainDetector,
} from '../../src/training/index.ts';
import { guardian, type Home, makeHome } from '../support/cli.ts';
import { makeSecureSites, type SecureSites, writeSyntheticData } from '../support/secure-sites.ts';
import { SYNTHETIC_SCHEMA } from '../support/synthetic-table.ts';

const TRAINING = { method: 'trees', rounds: 4, maxLeaves: 8, treeRounds: 4, patience: 3 } as const;

describe('a rehearsal of a secure training', () => {
  let home: Home;
  let args: string[];
  before(async () => {
    home = await makeHome();
    const file = (name: string) => join(home.folder, name);
    writeSyntheticData(file('data.csv'), 2000, 5);
    writeFileSync(file('schema.json'), JSON.stringify(SYNTHETIC_SCHEMA.schema));
    writeFileSync(file('guardian.yaml'), JSON.stringify({ training: TRAINING }));
    args = ['train', file('data.csv'), '--schema', file('schema.json'), '--config', file('guardian.yaml')];
  });
  after(() => home.remove());

  it('publishes who took part, and replaying that gives the same model', async () => {
    const { stderr, objects } = await guardian(home, [
      ...args,
      ...['--name', 'hidden', '--secure', '--workers', '4', '--seed', '7', '--json'],
    ]);
    const result = objects.at(-1) as { type: string; modelDigest: string; version: string };
    assert.equal(result.type, 'train.result', stderr);
    const shown = (await guardian(home, ['models', 'show', `hidden@${result.version}`, '--json'])).objects.at(
      -1,
    ) as { manifest: { configuration: unknown } };
    const record = publishedRecord(shown.manifest.configuration) as PublishedSecureRecord;
    assert.deepEqual(
      [record.policy, record.reproducible, record.rehearsal, record.groups.length, record.minGroup],
      ['wait', true, true, 1, 4],
    );
    const schema = await loadSchema(join(home.folder, 'schema.json'));
    const table = await readTable(join(home.folder, 'data.csv'), schema);
    const config = resolveTrainingConfig(TRAINING);
    const { held, parts } = cutForRehearsal(table, config, { members: 4, seed: 7 });
    const again = await trainDetector({
      ...{ table: held, schema, sourceKinds: ['table'], config, seed: 7, isHeldOut: true },
      booster: (bins, options) => {
        const rows = new Map(
          parts.map((part, i) => [
            `member-${i}`,
            memberRows(part, { duplicates: 'keep', maxRowsPerAttackType: 0 }).encode(
              bins.binned.binning,
              record.maxWeight,
            ),
          ]),
        );
        const { run, minCellRows, rows: counted } = record;
        const participants = participantsOf(record);
        return replayBooster(rows, { run, minCellRows, rows: counted, participants })(bins, options);
      },
    });
    assert.equal(again.digest, result.modelDigest);
    const text = (await guardian(home, ['models', 'show', `hidden@${result.version}`])).stdout;
    assert.match(text, /secure run +rehearsal-\w+, policy wait, roster of rehearsal \(a rehearsal/);
    assert.match(text, /reproducible +yes/);
  });

  it('with noise says what it spent, and that nothing gives the model again', async () => {
    const { stderr, stdout } = await guardian(home, [
      ...args,
      ...['--name', 'noisy', '--secure', '--workers', '3', '--noise', '2'],
    ]);
    assert.match(stdout, /privacy +epsilon \d+\.\d+ at delta 0\.000001 \(gaussian, \d+ sums\)/, stderr);
    assert.match(stdout, /reproducible +no: the noise is secret/);
  });

  const USAGE: readonly (readonly [string, readonly string[], RegExp])[] = [
    ['too few members', ['--secure', '--workers', '2'], /--workers N, 3 to 255/],
    ['to resume', ['--secure', '--workers', '3', '--resume'], /start the same command again/],
    ['a roster without a bus', ['--secure', '--roster', 'r.json'], /--roster needs --bus/],
    ['a bus without a roster', ['--secure', '--bus', 'nats://127.0.0.1:1'], /needs --roster FILE/],
    ['a roster without --secure', ['--roster', 'r.json'], /--roster needs --secure/],
    ['noise without --secure', ['--noise', '1'], /--noise needs --secure/],
  ];
  for (const [what, more, says] of USAGE) {
    it(`refuses ${what} and says what was expected`, async () => {
      const { exitCode, stderr } = await guardian(home, [...args, '--name', 'm', ...more]);
      assert.equal(exitCode, 2, stderr);
      assert.match(stderr, says);
    });
  }
});

describe('rosters', () => {
  let sites: SecureSites;
  let roster: string;
  before(async () => {
    sites = await makeSecureSites(3);
    roster = await sites.sign('first');
  });
  after(() => sites.remove());
  const [site = ''] = ['site-0'];
  const worker = (home: Home, more: readonly string[]) =>
    guardian(home, [
      ...['worker', '--secure', '--bus', 'nats://127.0.0.1:1', '--schema', sites.schema],
      ...['--data', sites.data(home), ...more],
    ]);

  it('are verified by whoever has the public part of the approver, and stand in its log', async () => {
    const shown = await guardian(sites.coordinator, [
      'roster',
      'show',
      roster,
      '--approver',
      sites.approverFile,
    ]);
    assert.equal(shown.exitCode, 0, shown.stderr);
    assert.match(shown.stdout, /3 members, 3 must answer, 3 in a sum at least/);
    assert.match(shown.stdout, /ok: signed by board/);
    const log = await guardian(sites.approver, ['audit', 'show', '--json']);
    assert.match(log.stdout, /roster\.sign/);
  });

  it('that were altered are refused by everyone', async () => {
    const altered = join(sites.coordinator.folder, 'altered.json');
    writeFileSync(altered, readFileSync(roster, 'utf8').replace('"minGroup":3', '"minGroup":4'));
    const trusted = ['--approver', sites.approverFile];
    const shown = await guardian(sites.coordinator, ['roster', 'show', altered, ...trusted]);
    assert.notEqual(shown.exitCode, 0);
    assert.match(shown.stderr, /signature of board does not verify/);
    const home = sites.members.get(site) as Home;
    const joined = await worker(home, ['--roster', altered, ...trusted]);
    assert.match(joined.stderr, /signature of board does not verify/);
  });

  it('of another approver than the one a member trusts are refused', async () => {
    const home = sites.members.get(site) as Home;
    const stranger = join(sites.coordinator.folder, 'stranger.json');
    await guardian(sites.coordinator, ['roster', 'approver', '--name', 'board', '--out', stranger]);
    const { exitCode, stderr } = await worker(home, ['--roster', roster, '--approver', stranger]);
    assert.notEqual(exitCode, 0);
    assert.match(stderr, /signature of board does not verify/);
  });

  it('that allow smaller sums than a member wants, or do not name it, are refused', async () => {
    const trusted = ['--roster', roster, '--approver', sites.approverFile];
    const home = sites.members.get(site) as Home;
    const small = await worker(home, [...trusted, '--min-group', '4']);
    assert.match(small.stderr, /expected sums of 4 members at least, the roster allows 3/);
    const unnamed = await worker(sites.coordinator, trusted);
    assert.match(unnamed.stderr, /no member of the roster of first has the identity of this site/);
  });

  it('are signed by nobody who is a member, and coordinated by nobody who signed them', async () => {
    const [own] = [join(sites.approver.folder, 'own.json')];
    await guardian(sites.approver, ['roster', 'identity', '--id', 'board', '--out', own]);
    const identities = [...sites.members.values()].map(({ folder }) => join(folder, 'identity.json'));
    const signed = await guardian(sites.approver, [
      ...['roster', 'sign', '--run', 'own', '--approver', sites.approverFile],
      ...['--out', join(sites.approver.folder, 'signed.json'), '--member', own, ...identities],
    ]);
    assert.match(signed.stderr, /the approver would be the member board too/);
    const trained = await guardian(sites.approver, [
      ...['train', sites.data(sites.approver), '--schema', sites.schema, '--name', 'm', '--secure'],
      ...['--bus', 'nats://127.0.0.1:1', '--roster', roster, '--approver', sites.approverFile],
    ]);
    assert.match(trained.stderr, /who approves a run does not coordinate it/);
  });

  it('are not made anew over a file that is there', async () => {
    const again = await guardian(sites.approver, [
      'roster',
      'approver',
      '--name',
      'b',
      '--out',
      sites.approverFile,
    ]);
    assert.match(again.stderr, /exists already/);
  });
});
