import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { guardian, makeHome } from '../../test/support/cli.ts';
import { Metrics } from '../base/index.ts';
import { parseAddress, serveHealth } from './worker-health.ts';

test('probes are told whether a worker lives and whether it is ready, and nothing else is answered', async () => {
  let ready = false;
  const health = await serveHealth({ port: 0, state: () => ({ ready, id: 'w' }), metrics: new Metrics() });
  try {
    const ask = async (path: string, method = 'GET') => {
      const answer = await fetch(`${health.url}${path}`, { method });
      return [answer.status, await answer.text()] as const;
    };
    assert.deepEqual(await ask('/health/live'), [200, '{"live":true}']);
    assert.deepEqual(await ask('/health/ready'), [503, '{"ready":false,"id":"w"}']);
    ready = true;
    assert.deepEqual(await ask('/v2/health/ready'), [200, '{"ready":true,"id":"w"}']);
    assert.equal((await ask('/metrics'))[0], 200);
    assert.equal((await ask('/health/ready', 'POST'))[0], 405);
    assert.equal((await ask('/health/../metrics/x'))[0], 404);
  } finally {
    await health.close();
  }
});

test('where others can ask, no metrics are told', async () => {
  const state = () => ({ ready: true });
  const health = await serveHealth({ port: 0, host: '0.0.0.0', state, metrics: new Metrics() });
  try {
    const url = health.url.replace('0.0.0.0', '127.0.0.1');
    assert.equal((await fetch(`${url}/metrics`)).status, 404);
    assert.equal((await fetch(`${url}/health/live`)).status, 200);
  } finally {
    await health.close();
  }
  assert.throws(() => parseAddress('example.org'));
});

test('an inference worker needs trust, a bus and a key for it, and a key is made once', async () => {
  const home = await makeHome();
  try {
    const key = join(home.folder, 'bus.key');
    const made = await guardian(home, ['keys', 'bus', key]);
    assert.equal(made.exitCode, 0, made.stderr);
    const about = statSync(key);
    assert.deepEqual([about.size, about.mode & 0o777], [32, 0o600]);
    assert.equal((await guardian(home, ['keys', 'bus', key])).exitCode, 0);
    assert.equal(statSync(key).ino, about.ino);
    const refused: readonly (readonly [readonly string[], RegExp])[] = [
      [['--role', 'inference'], /--trust/],
      [['--role', 'inference', '--secure'], /--secure is a training/],
      [['--role', 'inference', '--trust', join(home.folder, 'none.pem')], /none\.pem cannot be read/],
      [['--trust', key, '--bus', 'nats://127.0.0.1:1'], /--trust needs --role inference/],
      [['--role', 'other'], /training, inference/],
    ];
    for (const [args, says] of refused) {
      const { exitCode, stderr } = await guardian(home, ['worker', ...args]);
      assert.notEqual(exitCode, 0, args.join(' '));
      assert.match(stderr, says);
    }
  } finally {
    await home.remove();
  }
});
