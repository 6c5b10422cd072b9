import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connect, headers } from '@nats-io/transport-node';
import { busContract } from '../../test/support/bus-contract.ts';
import { CertificateShop } from '../../test/support/certificates.ts';
import { type NatsHouse, startNats } from '../../test/support/nats.ts';
import { requireTool, toolPath } from '../../test/support/requires.ts';
import { BusError } from './errors.ts';
import { connectNats } from './nats-bus.ts';

const code = (wanted: string) => (error: unknown) => error instanceof BusError && error.code === wanted;

if (toolPath('nats-server') !== undefined) {
  let house: NatsHouse;
  before(async () => {
    house = await startNats();
  });
  after(() => house.close());

  busContract('NATS', () => connectNats({ server: house.server, maxTopicBytes: 1_500_000 }));

  test('what was acknowledged to the publisher outlives a server that is killed', async () => {
    const bus = await connectNats({ server: house.server });
    try {
      for (let i = 0; i < 50; i++) await bus.publish('survivor', Uint8Array.of(i));
      await house.kill();
      await assert.rejects(bus.publish('survivor', Uint8Array.of(99)), BusError);
      await house.restart();
      const seen = new Set<number>();
      for await (const delivery of bus.consume('survivor')) {
        seen.add(delivery.data[0] as number);
        await delivery.ack();
        if (seen.size >= 50 && seen.has(49)) break;
      }
      for (let i = 0; i < 50; i++) assert.ok(seen.has(i), `message ${i}`);
    } finally {
      await bus.close();
    }
  });

  test('a message whose object is gone comes as an empty one, and stops none behind it', async () => {
    const bus = await connectNats({ server: house.server });
    const core = await connect({ servers: house.server });
    try {
      await bus.publish('gone', Uint8Array.of(1));
      for (const name of ['large.gone', 'no name']) {
        const lost = headers();
        lost.set('Guardian-Object', name);
        await core.request('guardian.topic.gone', new Uint8Array(0), { headers: lost, timeout: 2_000 });
      }
      await bus.publish('gone', Uint8Array.of(2));
      const seen: (number | undefined)[] = [];
      for await (const delivery of bus.consume('gone', { ackWaitMs: 1_000 })) {
        seen.push(delivery.data[0]);
        await delivery.ack();
        if (seen.length === 4) break;
      }
      assert.deepEqual(seen, [1, undefined, undefined, 2]);
    } finally {
      await core.close();
      await bus.close();
    }
  });

  test('a server that asks for a password gets it from its file', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'guardian-bus-'));
    const guarded = await startNats(['authorization { user: guardian, password: "s3cret-of-the-bus" }']);
    try {
      const passwordFile = join(folder, 'password');
      writeFileSync(passwordFile, 's3cret-of-the-bus\n', { mode: 0o600 });
      const bus = await connectNats({ server: guarded.server, user: 'guardian', passwordFile });
      assert.ok(((await bus.put('a.b', Uint8Array.of(1))) as number) > 0);
      await bus.close();
      await assert.rejects(connectNats({ server: guarded.server, timeoutMs: 2000 }), (error) => {
        return code('bus.unreachable')(error) && !String((error as Error).message).includes('s3cret');
      });
    } finally {
      await guarded.close();
      rmSync(folder, { recursive: true });
    }
  });
} else {
  test('the bus over NATS', (t) => void requireTool(t, 'nats-server'));
}

test('no server: a clear error, and nothing left running', async () => {
  await assert.rejects(
    connectNats({ server: 'nats://127.0.0.1:1', timeoutMs: 1000 }),
    code('bus.unreachable'),
  );
});

test('a server on another machine needs TLS and credentials', async () => {
  for (const server of [
    'nats://192.0.2.1:4222',
    'tls://192.0.2.1',
    'http://127.0.0.1',
    'nats://u:p@127.0.0.1',
    'x',
  ]) {
    await assert.rejects(connectNats({ server }), code('bus.address-refused'), server);
  }
  await assert.rejects(
    connectNats({ server: 'nats://127.0.0.1', tokenFile: '/nonexistent/token' }),
    code('bus.address-refused'),
  );
});

test('holds the certificate of a server to the address that was configured', async (t) => {
  if (!requireTool(t, 'nats-server') || !requireTool(t, 'openssl')) return;
  const shop = new CertificateShop();
  t.after(() => shop.close());
  const authority = shop.authority('bus');
  for (const [alternative, isRight] of [
    ['IP:127.0.0.1', true],
    ['DNS:localhost', false],
  ] as const) {
    const { certFile, keyFile } = shop.issue(authority, { usage: 'serverAuth', alternative });
    const house = await startNats([`tls { cert_file: "${certFile}", key_file: "${keyFile}" }`]);
    try {
      const server = house.server.replace('nats:', 'tls:');
      const connecting = connectNats({ server, caFile: authority.certFile });
      if (isRight) await (await connecting).close();
      else await assert.rejects(connecting, code('bus.unreachable'));
    } finally {
      await house.close();
    }
  }
});
