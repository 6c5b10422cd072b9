import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { openServedHouse } from '../../test/support/served-guardian.ts';
import { mirrorRepository, serveRepository } from '../registry/index.ts';
import { buildServer } from './build-server.ts';
import { ROUTES } from './routes.ts';

interface Files {
  readonly metadata: readonly { name: string; bytes: string }[];
  readonly targets: readonly { name: string; bytes: string }[];
}

suite('the routes of updates', () => {
  test('sign a repository and pull from it, each answer as it is described', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'updates-'));
    const house = await openServedHouse({ now: Date.now() });
    const app = await buildServer(house.guardian, { trust: 'local' });
    try {
      const published = await app.inject({
        method: 'POST',
        url: '/v1/updates/publish',
        payload: { models: ['flow'], expiryDays: { timestamp: 1 } },
      });
      assert.equal(published.statusCode, 200, published.body);
      ROUTES['POST /v1/updates/publish'].answer.parse(published.json());
      const files = published.json<Files>();
      const decode = (list: Files['metadata']) =>
        list.map(({ name, bytes }) => [name, Buffer.from(bytes, 'base64')] as const);
      await mirrorRepository(folder, { metadata: decode(files.metadata), targets: decode(files.targets) });
      const served = await serveRepository(folder, { port: 0 });
      try {
        const pull = (payload: object) => app.inject({ method: 'POST', url: '/v1/updates/pull', payload });
        const [root] = files.metadata;
        assert.equal(root?.name, '1.root.json');
        const without = await pull({ url: served.url });
        assert.deepEqual([without.statusCode, without.json().code], [409, 'registry.update-root-needed']);
        const pulled = await pull({ url: served.url, root: root.bytes, models: ['flow'] });
        assert.equal(pulled.statusCode, 200, pulled.body);
        const { models } = ROUTES['POST /v1/updates/pull'].answer.parse(pulled.json());
        assert.deepEqual(
          models.map(({ state }) => state),
          ['present'],
        );
        const unknown = await pull({ url: served.url, models: ['other'] });
        assert.deepEqual([unknown.statusCode, unknown.json().code], [404, 'registry.update-model-unknown']);
        for (const wrong of [
          {},
          { url: 5 },
          { url: served.url, extra: 1 },
          { url: served.url, models: ['../x'] },
        ]) {
          assert.equal((await pull(wrong)).statusCode, 400);
        }
      } finally {
        await served.close();
      }
    } finally {
      await app.close();
      await house.close();
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
