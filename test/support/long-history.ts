import type { Digest } from '../../src/base/index.ts';
import { canonicalJson, sha256 } from '../../src/crypto/index.ts';
import type { Registry } from '../../src/registry/index.ts';
import { FIXTURE_SCHEMA, type House, makeCandidate } from './registry-fixture.ts';

/** What stands in for a version whose weights nobody asks for. */
const FILLER = { action: 'key.use', principal: 'system', subject: 'key', detail: {} } as const;
const BATCH = 512;

export interface LongHistoryOptions {
  readonly versions: number;
  readonly changes: number;
  /** Entries of other things between them: wrapping, signing and unwrapping keys is logged too. */
  readonly others: number;
}

/**
 * A registry of many versions and changes: a few are real, published, approved and judged; the others are entries and
 * rows as the registry writes them, which is all that history reads. Give the house a policy of two approvals, gate data
 * and a clock that stands still; reopen it to see them.
 */
export async function growHistory(house: House, options: LongHistoryOptions): Promise<void> {
  const real = await publishReal(house.registry);
  const { log, db } = house;
  const first = (await house.registry.history('flow')).at(-1);
  if (first === undefined) throw new TypeError('expected a promotion');
  const rows: (() => Promise<void>)[] = [];
  const done = async (entry: { action: string; principal: string; subject: string; detail: object }) => {
    const base = { ...entry, detail: entry.detail as Record<string, unknown> };
    const intent = await log.append({ kind: 'intent', ...base });
    await log.append({ kind: 'outcome', ...base, intent, result: 'done' });
    return intent;
  };
  await inBatches(options.versions, async (i) => {
    const { detail, row } = fabricate(i + 10);
    const subject = `flow@${row.version}`;
    const intent = await done({ action: 'model.publish', principal: 'ada', subject, detail });
    rows.push(() => db.versions.insert({ ...row, intent }));
  });
  await inBatches(options.others, async () => {
    await log.append({ kind: 'event', ...FILLER });
  });
  const model = await house.registry.show('flow@champion');
  const manifestDigest = sha256(canonicalJson(model.manifest));
  for (let i = 0; i < options.changes; i++) {
    const version = real[i % real.length] as string;
    const previous = real[(i + real.length - 1) % real.length] as string;
    const approvals = ['bob', 'carol'];
    const { evidence = null, approvalIntents } = first;
    const detail = {
      ...{ alias: 'champion', previous, approvals, approvalsRequired: 2, approvalIntents },
      ...{ gates: 'evaluator', evidence, manifestDigest: version === first.version ? manifestDigest : null },
    };
    const intent = await done({
      action: 'model.promote',
      principal: 'ops',
      subject: `flow@${version}`,
      detail,
    });
    rows.push(() =>
      db.aliases.move({
        ...{
          name: 'flow',
          alias: 'champion',
          version,
          previous,
          intent,
          action: 'promote',
          principal: 'ops',
        },
        changedAt: first.time,
        approvals,
      }),
    );
  }
  for (const row of rows) await row();
}

/** Two versions, approved by two and promoted in turn. */
async function publishReal(registry: Registry): Promise<readonly string[]> {
  const versions: string[] = [];
  await registry.registerGateData(
    'flow',
    { path: '/data', schemaBytes: FIXTURE_SCHEMA },
    { principal: 'bob' },
  );
  for (const seed of [1, 2]) {
    const { version } = await registry.publish(makeCandidate({ seed }), { principal: 'ada' });
    for (const principal of ['bob', 'carol']) await registry.approve('flow', version, { principal });
    await registry.promote('flow', version, 'champion', { principal: 'ops' });
    versions.push(version);
  }
  return versions;
}

function fabricate(i: number) {
  const digest: Digest = sha256(`weights ${i}`);
  const row = {
    ...{
      name: 'flow',
      version: `1.${i}.0`,
      digest,
      schemaId: sha256(FIXTURE_SCHEMA),
      sourceKinds: ['packets'],
    },
    ...{ gatesPassed: true, dataKeyId: `dk-${i}`, createdAt: '2026-01-01T00:00:00.000Z', author: 'ada' },
  };
  const { schemaId, gatesPassed, dataKeyId } = row;
  const rowDigest = sha256(canonicalJson(row));
  return { row, detail: { digest, manifestDigest: digest, schemaId, gatesPassed, dataKeyId, rowDigest } };
}

async function inBatches(count: number, work: (i: number) => Promise<void>): Promise<void> {
  for (let from = 0; from < count; from += BATCH) {
    const size = Math.min(BATCH, count - from);
    await Promise.all(Array.from({ length: size }, (_, i) => work(from + i)));
  }
}
