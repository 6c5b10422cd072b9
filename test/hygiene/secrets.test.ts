import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { configurationSchema } from '../../src/configuration.ts';
import { unwrapFromStore } from '../../src/crypto/index.ts';
import { loadSchema } from '../../src/features/index.ts';
import { openGuardian } from '../../src/guardian/index.ts';
import { guardian, makeHome, startGuardian, waitForExit, waitForObject } from '../support/cli.ts';
import { miss } from '../support/requires.ts';
import { flowCandidate } from '../support/served-guardian.ts';

/** The ways in which a secret could be written down. */
function formsOf(secret: Uint8Array): readonly Buffer[] {
  const bytes = Buffer.from(secret);
  const texts = ['hex', 'base64', 'base64url'] as const;
  return [bytes, ...texts.map((form) => Buffer.from(bytes.toString(form).replace(/=+$/, '')))];
}

function filesBelow(folder: string): readonly string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isFile());
}

describe('secrets', () => {
  test('stand in no file, output, argument or environment but the ones made for them', async (t) => {
    if (process.platform !== 'linux') return void miss(t, 'reads /proc');
    const home = await makeHome();
    const stateFolder = join(home.folder, 'state', 'ai-guardian');
    const configFolder = join(home.folder, 'config', 'ai-guardian');
    try {
      const first = await openGuardian({ stateFolder, configFolder, config: configurationSchema.parse({}) });
      const { version } = await first.registry.publish(flowCandidate(await loadSchema('flow-core')), {
        principal: 'tester',
      });
      await first.promote('flow', version, 'champion', { principal: 'tester' });
      const dataKeys: Buffer[] = [];
      for (const id of await first.database.wraps.list()) {
        const key = await unwrapFromStore(first.keys, await first.database.wraps.get(id));
        dataKeys.push(key.use((bytes) => Buffer.from(bytes)));
      }
      await first.close();

      const served = startGuardian(home, ['--json', 'serve', '--port', '0']);
      let output = '';
      served.stdout?.on('data', (chunk: Buffer) => {
        output += chunk.toString();
      });
      served.stderr?.on('data', (chunk: Buffer) => {
        output += chunk.toString();
      });
      await waitForObject(served, 'serve.listening');
      const proc = (name: string) => readFileSync(`/proc/${served.pid}/${name}`);
      const seen = [proc('cmdline'), proc('environ')];
      const added = await guardian(home, ['--json', 'access', 'add', 'canary', '--role', 'viewer']);
      const apiKey = String(added.objects.find(({ key }) => typeof key === 'string')?.key ?? '');
      assert.ok(apiKey.length > 20, added.stderr);
      const failed = await guardian(home, ['models', 'verify', `${apiKey.slice(0, 40)}@1.0.0`]);
      served.kill('SIGTERM');
      await waitForExit(served);

      const unlock = readFileSync(join(configFolder, 'unlock.key'));
      assert.equal(unlock.length, 32);
      const secrets = [...[unlock, ...dataKeys].flatMap(formsOf), Buffer.from(apiKey)];
      assert.equal(dataKeys.length, 1);
      const places: readonly (readonly [string, Buffer])[] = [
        ...filesBelow(stateFolder).map((path) => [path, readFileSync(path)] as const),
        ['output of the server', Buffer.from(output)],
        ['errors', Buffer.from(failed.stderr.replaceAll(apiKey.slice(0, 40), ''))],
        ['arguments', seen[0] as Buffer],
        ['environment', seen[1] as Buffer],
      ];
      assert.ok(places.length > 12);
      for (const [place, bytes] of places) {
        for (const secret of secrets) assert.ok(!bytes.includes(secret), `a secret stands in ${place}`);
      }
      // The search finds what is there.
      assert.ok(formsOf(unlock).some((form) => unlock.includes(form)));
    } finally {
      await home.remove();
    }
  });
});
