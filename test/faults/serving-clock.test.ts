import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { verifyAuditLog } from '../../src/audit/index.ts';
import { FaultHouse } from '../support/fault-house.ts';
import {
  exfiltration,
  openNotices,
  openReceiver,
  secretFile,
  temporaryFolder,
} from '../support/notice-house.ts';
import { SteadyLoad } from '../support/steady-load.ts';

const HOUR_MS = 3_600_000;

suite('a wall clock that jumps', () => {
  test('ahead and back by hours costs no answer, no deadline and no finding, and the log stays whole', async (t) => {
    const house = await FaultHouse.open(t, {
      config: { inference: { fallbackStrategy: 'reject', timeoutMs: 500 } },
    });
    const { guardian, clock } = house;
    const stream = new AbortController();
    t.after(() => stream.abort());
    const seen = await house.follow('/v1/detections/stream', stream.signal);
    const load = new SteadyLoad(house);
    await load.some(2);
    for (const hours of [6, -14, 9]) {
      clock.jump(hours * HOUR_MS);
      await load.some(2);
      const { version } = await house.publish(hours / 100);
      assert.equal((await house.promoteOverHttp(version)).status, 200);
      assert.equal(guardian.engine.current('flow')?.version, version);
    }
    await load.stop();
    assert.deepEqual(Object.keys(load.tally()).sort(), ['event 200', 'infer 200']);
    await load.assertKept();
    while (seen.size < load.acknowledged.size) await house.infer();
    assert.deepEqual(seen, load.acknowledged);
    await guardian.log.checkpoint();
    const { publicKeyPem = '' } = await guardian.keys.active('log-signing');
    const verified = await verifyAuditLog({ folder: guardian.auditFolder, logPublicKeyPem: publicKeyPem });
    assert.equal(verified.size, guardian.log.size);
    // What served when is told by the order of the log, which goes on where its times do not.
    const moves = await guardian.registry.history('flow');
    assert.equal(moves.length, 4);
    assert.ok(moves.every((move, i) => i === 0 || move.previous === moves[i - 1]?.version));
  });

  test('ahead ends the keys and rules that end then, and back gives them back', async (t) => {
    const house = await FaultHouse.open(t);
    const rule = { source: '198.18.0.9', reason: 'a scanner of ours', hours: 1 };
    assert.equal((await house.call('POST', '/v1/suppressions', rule)).status, 201);
    const silenced = async () => {
      await house.call('POST', '/v1/events/end');
      const { body } = await house.event('198.18.0.9');
      const [found] = body.detections as readonly { suppressedBy?: string }[];
      return found?.suppressedBy !== undefined;
    };
    assert.equal(await silenced(), true);
    house.clock.jump(2 * HOUR_MS);
    assert.equal(await silenced(), false, 'what is no longer silenced is told');
    house.clock.jump(23 * HOUR_MS);
    const expired = await house.infer();
    assert.deepEqual([expired.status, expired.body.code], [401, 'server.key-expired']);
    house.clock.jump(-25 * HOUR_MS);
    assert.equal((await house.infer()).status, 200);
    assert.equal(await silenced(), true);
  });

  test('ahead gives up no notice that its receiver has not been asked for long enough', async (t) => {
    const folder = temporaryFolder(t);
    let fails = 1;
    const receiver = await openReceiver(t, (response) => response.writeHead(fails-- > 0 ? 503 : 204).end());
    const sink = {
      type: 'webhook',
      name: 'soc',
      url: receiver.url,
      secretFile: secretFile(folder),
      giveUpAfterMs: HOUR_MS,
    };
    const { store, delivery, clock, lost } = await openNotices(t, [sink], folder);
    await delivery.start();
    clock.jump(48 * HOUR_MS);
    await store.record([exfiltration('192.0.2.7')]);
    clock.jump(48 * HOUR_MS);
    await delivery.idle();
    assert.deepEqual(lost, []);
    assert.equal(receiver.got.length, 2);
  });
});
