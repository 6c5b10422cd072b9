import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { buildServer } from '../../src/server/index.ts';
import { requireTool } from '../support/requires.ts';
import { openServedHouse, sentFlow } from '../support/served-guardian.ts';

const read = (path: string) => readFileSync(new URL(`../../deploy/${path}`, import.meta.url), 'utf8');

interface Dashboard {
  readonly panels: readonly {
    readonly id: number;
    readonly title: string;
    readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
    readonly targets: readonly { readonly expr: string }[];
  }[];
}

suite('the alert rules and the dashboard', () => {
  test('name only metrics that a running server has', async () => {
    const house = await openServedHouse();
    const app = await buildServer(house.guardian, { trust: 'local' });
    try {
      const sent = await app.inject({ method: 'POST', url: '/v1/events', payload: [sentFlow()] });
      assert.equal(sent.statusCode, 200);
      const text = (await app.inject('/metrics')).body;
      const known = new Set([...text.matchAll(/^# TYPE (\w+)/gm)].map(([, name]) => name));
      assert.ok(known.size > 20);
      for (const path of ['prometheus/alerts.yml', 'grafana/dashboard.json']) {
        const named = new Set([...read(path).matchAll(/\bguardian_\w+/g)].map(([name]) => name));
        assert.ok(named.size >= 7, path);
        for (const name of named) {
          assert.ok(known.has(name) || known.has(name.replace(/_bucket$/, '')), `${path}: no metric ${name}`);
        }
      }
    } finally {
      await app.close();
      await house.close();
    }
  });

  test('are as promtool wants them, and fire when they should', (t) => {
    if (!requireTool(t, 'promtool')) return;
    const cwd = fileURLToPath(new URL('../../deploy/prometheus', import.meta.url));
    const checked = execFileSync('promtool', ['check', 'rules', 'alerts.yml'], { cwd, encoding: 'utf8' });
    assert.match(checked, /SUCCESS: \d+ rules found/);
    const tested = execFileSync('promtool', ['test', 'rules', 'alerts.test.yml'], { cwd, encoding: 'utf8' });
    assert.match(tested, /SUCCESS/);
  });

  test('have panels side by side whose queries promtool reads', (t) => {
    const { panels } = JSON.parse(read('grafana/dashboard.json')) as Dashboard;
    const places = new Set(panels.map(({ gridPos: { x, y } }) => `${x} ${y}`));
    assert.equal(places.size, panels.length);
    assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
    assert.ok(panels.every(({ gridPos: { x, w } }) => x + w <= 24));
    if (!requireTool(t, 'promtool')) return;
    // A rule a query: promtool parses them all at once. Grafana fills its variables in before.
    const rules = panels
      .flatMap(({ targets }) => targets)
      .map(({ expr }, i) => {
        const filled = expr.replaceAll('$__rate_interval', '1m').replaceAll('$instance', '.*');
        return `  - {record: "panel:${i}", expr: ${JSON.stringify(filled)}}\n`;
      });
    const input = `groups:\n- name: dashboard\n  rules:\n${rules.join('')}`;
    const folder = mkdtempSync(join(tmpdir(), 'guardian-panels-'));
    t.after(() => rmSync(folder, { recursive: true }));
    const file = join(folder, 'panels.yml');
    writeFileSync(file, input);
    const checked = execFileSync('promtool', ['check', 'rules', file], { encoding: 'utf8' });
    assert.match(checked, new RegExp(`${rules.length} rules found`));
  });
});
