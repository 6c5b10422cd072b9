import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { suite, test } from 'node:test';
import { ensureAdminKey, listenHttp } from '../../src/server/index.ts';
import { BrowserPage } from '../support/browser.ts';
import { requireTool } from '../support/requires.ts';
import { openServedHouse, sentAttack } from '../support/served-guardian.ts';

suite('the page in a browser', { timeout: 60_000 }, () => {
  test('refuses a wrong key, then shows what is found, as it comes, as text', async (t) => {
    // Large for one test: it is not among the packages that the tests install.
    if (!requireTool(t, 'chromium')) return;
    const house = await openServedHouse();
    const http = await listenHttp(house.guardian, { host: '127.0.0.1', port: 0 });
    const page = await BrowserPage.open(http.url, { width: 1200, height: 760 });
    t.after(async () => {
      await page.close();
      await http.close();
      await house.close();
    });
    const key = readFileSync((await ensureAdminKey(house.guardian)) ?? '', 'utf8').trim();
    const signIn = (text: string) =>
      page.evaluate(
        `document.getElementById('key').value = '${text}'; document.getElementById('form').requestSubmit()`,
      );
    const state = (pattern: string) => `/${pattern}/.test(document.getElementById('state').textContent)`;

    await signIn('agk_wrong');
    await page.until(state('not one that was given out'));
    assert.equal(await page.evaluate("document.getElementById('console').hidden"), true);
    await signIn(key);
    await page.until(state('^live$'));
    assert.equal(await page.evaluate("document.getElementById('models').textContent"), 'flow 1.0.0');
    assert.equal(await page.evaluate("document.querySelectorAll('#rows tr').length"), 0);

    const sent = await fetch(`${http.url}/v1/events`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify(Array.from({ length: 8 }, (_, i) => sentAttack({ destinationPort: i + 1 }))),
    });
    assert.equal(sent.status, 200);
    await page.until("document.querySelectorAll('#rows tr').length === 1");
    assert.match(
      String(await page.evaluate("document.getElementById('rows').innerText")),
      /port-scan\s+198\.51\.100\.7/,
    );
    await page.evaluate(
      `show({ uid: 'x', lastSeenMs: 0, severity: 'high', kind: '<img src=x>', flows: 1, score: { probability: 1 },
        source: { address: '<b>', addressCount: 1 }, destination: { address: '::1', addressCount: 3 },
        decision: { verdict: 'observe', reason: '<script>alert(1)</script>' } })`,
    );
    assert.equal(
      await page.evaluate("document.querySelectorAll('#rows img, #rows b, #rows script').length"),
      0,
    );
    assert.match(String(await page.evaluate("document.getElementById('rows').innerText")), /<img src=x>/);
  });
});
