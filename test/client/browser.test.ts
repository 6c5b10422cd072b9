import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { suite, test } from 'node:test';
import { clientModule } from '../../scripts/client.ts';
import { ensureAdminKey, listenHttp } from '../../src/server/index.ts';
import { BrowserPage } from '../support/browser.ts';
import { requireTool } from '../support/requires.ts';
import { openServedHouse, sentAttack } from '../support/served-guardian.ts';

suite('the client as it is packed', { timeout: 60_000 }, () => {
  test('is a module of its own', async () => {
    const url = `data:text/javascript,${encodeURIComponent(clientModule())}`;
    const packed = (await import(url)) as Record<string, unknown>;
    assert.deepEqual(Object.keys(packed).sort(), ['CLIENT_ERRORS', 'GuardianClient', 'GuardianClientError']);
    const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
      exports: Readonly<Record<string, Readonly<Record<string, string>>>>;
    };
    assert.deepEqual(manifest.exports['./client'], {
      types: './src/client/index.ts',
      default: './dist/client.js',
    });
  });

  test('sends flows, hears of what they show and scores bytes in a browser', async (t) => {
    if (!requireTool(t, 'chromium')) return;
    const house = await openServedHouse({ now: Date.now() });
    const http = await listenHttp(house.guardian, { host: '127.0.0.1', port: 0 });
    const page = await BrowserPage.open(http.url, { width: 800, height: 600 });
    t.after(async () => {
      await page.close();
      await http.close();
      await house.close();
    });
    const key = readFileSync((await ensureAdminKey(house.guardian)) ?? '', 'utf8').trim();
    const flows = Array.from({ length: 8 }, (_, i) => sentAttack({ destinationPort: i + 1 }));
    const columns = house.schema.schema.columns.length;
    const told = await page.evaluate(`(async () => {
      ${clientModule().replace(/export \{[^}]*\};/, '')}
      const opened = Promise.withResolvers();
      const client = new GuardianClient({
        url: location.origin,
        key: ${JSON.stringify(key)},
        fetch: async (url, init) => {
          const response = await fetch(url, init);
          if (url.endsWith('/stream')) opened.resolve();
          return response;
        },
      });
      const watch = client.watchDetections();
      const first = watch.next();
      await opened.promise;
      const sum = await client.sendFlows(${JSON.stringify(flows)});
      const { value } = await first;
      await watch.return();
      const scored = await client.infer('flow', new Float32Array(${2 * columns}), { rows: 2 });
      const refused = await new GuardianClient({ url: location.origin, key: 'agk_wrong' }).status().catch((error) => error);
      return JSON.stringify([sum.verdicts.attack, value.kind, scored.verdict.length, refused.code]);
    })()`);
    assert.deepEqual(JSON.parse(String(told)), [8, 'port-scan', 2, 'server.key-wrong']);
  });
});
