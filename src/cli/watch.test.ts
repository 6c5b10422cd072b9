import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { guardian, makeHome } from '../../test/support/cli.ts';
import { openServedHouse } from '../../test/support/served-guardian.ts';
import { buildServer } from '../server/index.ts';
import { Api, injectTransport } from './api.ts';
import { openSink } from './flow-sink.ts';

/** A classic pcap without packets. */
const EMPTY_CAPTURE = Buffer.from('d4c3b2a1020004000000000000000000ffff000001000000', 'hex');

suite('guardian watch without any model', () => {
  test('ends with exit code 3 and names the command that makes one', async () => {
    const home = await makeHome();
    const capture = join(home.folder, 'empty.pcap');
    writeFileSync(capture, EMPTY_CAPTURE);
    for (const reference of [
      [],
      ['--model', 'flow@1.0.0'],
      ['--model', 'flow@shadow'],
      ['--model', 'other'],
    ]) {
      const { exitCode, stderr, objects } = await guardian(home, ['watch', capture, '--json', ...reference]);
      assert.equal(exitCode, 3, `${reference}: ${stderr}`);
      assert.match(stderr, /guardian demo --once/);
      assert.equal(objects.at(-1)?.code, 'cli.no-model');
    }
    await home.remove();
  });

  test('says the same where another process owns the state', async () => {
    const house = await openServedHouse({ withModel: false });
    const server = await buildServer(house.guardian, { trust: 'local' });
    const api = new Api(injectTransport(server));
    for (const reference of ['flow@champion', 'flow@1.0.0']) {
      await assert.rejects(openSink({ api }, reference), { code: 'cli.no-model' });
    }
    await server.close();
    await house.close();
  });
});
