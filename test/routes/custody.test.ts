import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { configurationSchema } from '../../src/configuration.ts';
import { loadSchema } from '../../src/features/index.ts';
import { openGuardian } from '../../src/guardian/index.ts';
import { guardian, makeHome } from '../support/cli.ts';
import { flowCandidate } from '../support/served-guardian.ts';

describe('the commands of custody', () => {
  test('tag, hold, prune, erase and describe versions', async () => {
    const home = await makeHome();
    try {
      const first = await openGuardian({
        stateFolder: join(home.folder, 'state', 'ai-guardian'),
        configFolder: join(home.folder, 'config', 'ai-guardian'),
        config: configurationSchema.parse({}),
      });
      for (const bias of [0, 0.1, 0.2]) {
        await first.registry.publish(flowCandidate(await loadSchema('flow-core'), 'flow', bias), {
          principal: 'tester',
        });
      }
      await first.close();
      const run = async (...args: string[]) => {
        const result = await guardian(home, ['--json', 'models', ...args]);
        return { ...result, last: result.objects.at(-1) ?? {} };
      };
      assert.deepEqual((await run('tag', 'flow@1.0.0', 'team=soc', 'site=x=y')).last.tags, {
        site: 'x=y',
        team: 'soc',
      });
      assert.deepEqual((await run('tag', 'flow@1.0.0', 'team=')).last.tags, { site: 'x=y' });
      const held = await run('hold', 'flow@1.1.0', '--reason', 'case 7', '--until', '2999-01-01');
      assert.equal(held.last.until, '2999-01-01T00:00:00.000Z');
      const plan = await run('prune', 'flow', '--keep', '1', '--keep-days', '0', '--dry-run');
      assert.deepEqual(plan.last.pruned, ['1.0.0']);
      const id = String(held.last.id);
      assert.equal((await run('erase', 'flow@1.1.0', '--reason', 'r')).exitCode !== 0, true);
      assert.equal((await run('release', 'flow@1.1.0', '--hold', id, '--reason', 'closed')).exitCode, 0);
      assert.equal((await run('escrow')).last.escrowed, 3);
      assert.equal((await run('erase', 'flow@1.1.0', '--reason', 'withdrawn data')).last.state, 'pending');
      assert.equal((await run('erase', 'flow@1.1.0', '--status')).last.reason, 'withdrawn data');
      assert.deepEqual((await run('escrow', '--restore')).last.restored, []);
      assert.deepEqual((await run('prune', 'flow', '--keep', '1', '--keep-days', '0')).last.pruned, [
        '1.0.0',
      ]);
      assert.equal((await run('lineage', 'flow@1.1.0')).last.predecessor, '1.0.0');
      const out = join(home.folder, 'bom.json');
      assert.equal((await run('bom', 'flow@1.2.0', '--out', out)).exitCode, 0);
      assert.equal(JSON.parse(readFileSync(out, 'utf8')).specVersion, '1.6');
      assert.match(String((await run('card', 'flow@1.2.0')).last.markdown), /^# flow 1\.2\.0/);
      for (const wrong of [
        ['erase', 'flow@1.2.0'],
        ['erase', 'flow', '--status'],
        ['prune', 'flow', '--keep', 'x'],
      ]) {
        assert.equal((await run(...wrong)).exitCode, 2, wrong.join(' '));
      }
    } finally {
      await home.remove();
    }
  });
});
