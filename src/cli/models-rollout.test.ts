import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { guardian as command, type Home, makeHome } from '../../test/support/cli.ts';
import { flowCandidate } from '../../test/support/served-guardian.ts';
import { configurationSchema } from '../configuration.ts';
import { loadSchema } from '../features/index.ts';
import { type Guardian, openGuardian } from '../guardian/index.ts';
import { listenSocket } from '../server/index.ts';

suite('the commands of a rollout', () => {
  let home: Home;
  let guardian: Guardian;
  let socket: Awaited<ReturnType<typeof listenSocket>>;

  before(async () => {
    home = await makeHome();
    guardian = await openGuardian({
      stateFolder: join(home.folder, 'house'),
      configFolder: join(home.folder, 'config', 'ai-guardian'),
      config: configurationSchema.parse({}),
    });
    const schema = await loadSchema('flow-core');
    for (const bias of [0, 0.5]) {
      await guardian.registry.publish(flowCandidate(schema, 'flow', bias), { principal: 'trainer' });
    }
    await guardian.promote('flow', '1.0.0', 'champion', { principal: 'trainer' });
    socket = await listenSocket(guardian);
  });
  after(async () => {
    await socket.close();
    await guardian.close();
    await home.remove();
  });

  async function models(...args: readonly string[]) {
    const state = ['--state', join(home.folder, 'house')];
    const result = await command(home, ['models', ...args, ...state]);
    const json = await command(home, ['models', ...args, ...state, '--json']);
    return { ...result, json: json.objects.at(-1) ?? {}, jsonExit: json.exitCode };
  }

  test('start a shadow, compare it, and stop it', async () => {
    const started = await models('shadow', 'flow@1.1.0');
    assert.equal(started.exitCode, 0, started.stderr);
    assert.match(started.stdout, /flow@1\.1\.0 runs as a shadow of 1\.0\.0; it decides nothing/);
    // The second of the two commands found the first one's shadow.
    assert.equal(started.jsonExit, 2);
    const compared = await models('rollout', 'flow');
    assert.equal(compared.exitCode, 0, compared.stderr);
    assert.match(compared.stdout, /champion says/);
    assert.match(compared.stdout, /nothing was compared yet/);
    assert.deepEqual([compared.json.type, compared.json.kind], ['rollout.result', 'shadow']);
    const stopped = await models('shadow', 'flow', '--stop');
    assert.equal(stopped.exitCode, 0, stopped.stderr);
    assert.match(stopped.stdout, /ended \(stopped\) as a shadow/);
  });

  test('start a canary with its share, and demand one', async () => {
    for (const args of [[], ['--percent', '0'], ['--percent', '101'], ['--percent', 'x']]) {
      assert.equal((await models('canary', 'flow@1.1.0', ...args)).exitCode, 2, args.join(' '));
    }
    assert.equal((await models('canary', 'flow', '--percent', '5')).exitCode, 2);
    const started = await models('canary', 'flow@1.1.0', '--percent', '5');
    assert.equal(started.exitCode, 0, started.stderr);
    assert.match(started.stdout, /flow@1\.1\.0 decides for 5 % of the sources \(audit entry \d+\)/);
    assert.match((await models('rollout', 'flow')).stdout, /runs as a canary for 5 % of the sources/);
    assert.equal((await models('canary', 'flow@1.1.0', '--stop')).exitCode, 0);
  });
});
