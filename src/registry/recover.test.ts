import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type House, openHouse } from '../../test/support/registry-fixture.ts';

/** Leaves an intent open, as a kill does, after `work` has been done or not; resolves to how the next start closes it. */
async function resultAfterCut(
  what: { readonly action: string; readonly subject: (house: House) => Promise<string> },
  work: (house: House, subject: string) => Promise<unknown>,
): Promise<string | undefined> {
  const folder = mkdtempSync(join(tmpdir(), 'recover-'));
  try {
    const house = await openHouse(folder);
    const subject = await what.subject(house);
    const { action } = what;
    const intent = await house.log.append({ kind: 'intent', action, principal: 'ada', subject, detail: {} });
    await work(house, subject);
    await house.close();
    const again = await openHouse(folder);
    let result: string | undefined;
    for await (const { entry } of again.log.entries(intent)) {
      if (entry.intent === intent) result = entry.result;
    }
    await again.close();
    return result;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const ID = '0123456789abcdef';

async function addKey({ db }: House): Promise<string> {
  const row = { id: ID, sha256: '00'.repeat(32), principal: 'client', roles: ['viewer'], createdAt: 0 };
  await db.accessKeys.addAccessKey(row);
  return ID;
}

async function nothing(): Promise<void> {}

async function oldKey({ keys }: House): Promise<string> {
  const { id } = await keys.active('wrapping');
  await keys.generate('wrapping');
  return id;
}

test('a way in that was given or taken before the kill is called done, and one that was not aborted', async () => {
  const add = { action: 'access.add', subject: async () => ID };
  assert.equal(await resultAfterCut(add, addKey), 'done');
  assert.equal(await resultAfterCut(add, nothing), 'aborted');
  const revoke = { action: 'access.revoke', subject: addKey };
  assert.equal(await resultAfterCut(revoke, ({ db }, id) => db.accessKeys.revokeAccessKey(id, 1)), 'done');
  assert.equal(await resultAfterCut(revoke, nothing), 'aborted');
});

test("a change of a key is called what the key store's record says", async () => {
  const disable = { action: 'key.disable', subject: oldKey };
  assert.equal(await resultAfterCut(disable, ({ keys }, id) => keys.revoke(id)), 'done');
  assert.equal(await resultAfterCut(disable, nothing), 'aborted');
  const generate = { action: 'key.generate', subject: async () => 'model-signing' };
  assert.equal(await resultAfterCut(generate, ({ keys }) => keys.generate('model-signing')), 'done');
});

test('a use of a key that was cut short is aborted: nothing of it stays', async () => {
  assert.equal(await resultAfterCut({ action: 'key.unwrap', subject: oldKey }, nothing), 'aborted');
});
