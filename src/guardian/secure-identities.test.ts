import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { after, before, suite, test } from 'node:test';
import { makeSecureRun } from '../../test/support/secure-run.ts';
import { openServedHouse, type ServedHouse } from '../../test/support/served-guardian.ts';
import { type Roster, rosterBytes, rosterDigest } from '../training/index.ts';

suite('the identities of secure trainings', () => {
  let house: ServedHouse;
  before(async () => {
    house = await openServedHouse();
  });
  after(() => house.close());

  test('say nothing but what a member of a roster says that was joined and written down', async () => {
    const { identities, log } = house.guardian;
    const run = makeSecureRun(3);
    const own = await identities.identity('member', 'ada');
    const members = run.roster.members.map((member, i) =>
      i === 0 ? { ...member, publicKeyPem: own.publicKeyPem } : member,
    );
    const roster: Roster = { ...run.roster, members };
    const board = generateKeyPairSync('ed25519');
    const approver = {
      algorithm: 'ed25519',
      publicKeyPem: board.publicKey.export({ format: 'pem', type: 'spki' }).toString(),
    } as const;
    const signature = sign(null, rosterBytes(roster), board.privateKey).toString('base64');
    const signed = { roster, signature };
    const says = (content: object) =>
      Buffer.from(`guardian-aggregation-v1\n${JSON.stringify({ roster: rosterDigest(roster), ...content })}`);
    const refused = { code: 'training.message-refused' };
    await assert.rejects(identities.sign(says({ from: 'w00' })), refused, 'before it has joined');
    const before = log.size;
    assert.equal((await identities.join(signed, approver, 'ada')).member, 'w00');
    assert.ok(log.size > before);
    assert.ok((await identities.sign(says({ from: 'w00' }))).length > 0);
    await assert.rejects(identities.sign(says({ from: 'w01' })), refused, 'as another');
    const marked = Buffer.concat([Buffer.of(0xef, 0xbb, 0xbf), says({ from: 'w00' })]);
    await assert.rejects(identities.sign(marked), refused, 'bytes that reading drops');
    const broken = says({ from: 'w00', body: '#' }).map((b) => (b === 0x23 ? 0xff : b));
    await assert.rejects(identities.sign(broken), refused, 'bytes that reading replaces');
    await assert.rejects(identities.sign(says({ from: 'w00', roster: `sha256:${'0'.repeat(64)}` })), refused);
    await assert.rejects(identities.sign(Buffer.from('guardian-roster-v1\n{}')), refused, 'a roster');
    await assert.rejects(identities.sign(Buffer.from('{}')), refused);
  });
});
