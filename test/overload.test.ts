import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type FloodCounts, runFlood } from '../bench/support/serve/flood.ts';
import { inferMessage } from '../bench/support/serve/infer-message.ts';
import { buildServer, listenHttp, type Role } from '../src/server/index.ts';
import { readRefused } from './support/refused-counters.ts';
import { flowCandidate, openServedHouse } from './support/served-guardian.ts';

const WIDE_RATES = { principalPerSecond: 1e6, principalBurst: 1e6, addressPerSecond: 1e6, addressBurst: 1e6 };

/** A guardian that serves `flow` to one key, with requests for live and for batch work. */
async function serve() {
  const house = await openServedHouse({ config: { server: { rateLimit: WIDE_RATES } } });
  const local = await buildServer(house.guardian, { trust: 'local' });
  const payload = { label: 'flood', roles: ['operator'] satisfies Role[] };
  const made = await local.inject({ method: 'POST', url: '/v1/access', payload });
  const { key } = made.json<{ key: string }>();
  const http = await listenHttp(house.guardian, { host: '127.0.0.1', port: 0 });
  const port = Number(new URL(http.url).port);
  const row = new Float32Array(house.schema.schema.columns.length).fill(1);
  const common = `host: 127.0.0.1:${port}\r\nauthorization: Bearer ${key}\r\n`;
  const stream = (name: string, headers: string) => ({
    ...{ name, connections: 8, depth: 256 },
    requests: [inferMessage('flow', common + headers, row)],
  });
  return {
    ...{ house, port, key },
    streams: [stream('live', ''), stream('batch', 'guardian-priority: batch\r\n')],
    close: async () => {
      await http.close();
      await local.close();
      await house.close();
    },
  };
}

function checkSums(counts: FloodCounts): void {
  assert.equal(counts.due, counts.sent + counts.unsent);
  assert.equal(counts.sent, counts.good + counts.refused);
  assert.deepEqual([counts.failed, counts.unexplained, counts.firstFailure], [0, 0, undefined]);
}

suite('a server that is asked for more than it can do', () => {
  test('answers or refuses each request, with a reason and a time, and counts what it refuses', async () => {
    const served = await serve();
    try {
      // Every look at the clock takes a while: a machine that is as slow wherever this runs.
      const { clock } = served.house;
      const read = clock.monotonic.bind(clock);
      clock.monotonic = () => {
        clock.advance(0.2);
        return read();
      };
      const { port, streams } = served;
      const before = await readRefused(served);
      const flood = (name: string, rates: readonly number[]) =>
        runFlood({ kind: 'flood', port, streams, seed: 6, phases: [{ name, seconds: 0.5, rates }] });
      const { phases } = await flood('overload', [3_000, 3_000]);
      const all = phases.flat();
      for (const each of all) checkSums(each);
      const refused = all.reduce((sum, each) => sum + each.refused, 0);
      const good = all.reduce((sum, each) => sum + each.good, 0);
      assert.equal((await readRefused(served)).total - before.total, refused);
      assert.ok(refused > 0 && good > 0, `${refused} refused, ${good} answered`);
      const { phases: later } = await flood('after', [20, 0]);
      assert.equal(later[0]?.[0]?.refused, 0, 'it is back to normal');
    } finally {
      await served.close();
    }
  });

  test('answers every request while models are swapped, loaded and unloaded', async () => {
    const served = await serve();
    try {
      const { guardian, schema } = served.house;
      const who = { principal: 'tester' };
      const { version } = await guardian.registry.publish(flowCandidate(schema, 'flow', 0.01), who);
      const other = await guardian.registry.publish(flowCandidate(schema, 'other'), who);
      await guardian.promote('other', other.version, 'champion', who);
      let isOver = false;
      const swap = async (): Promise<number> => {
        let swaps = 0;
        for (; !isOver; swaps++) {
          await guardian.promote('flow', swaps % 2 === 0 ? version : '1.0.0', 'champion', who);
          await guardian.load('other@champion');
          await guardian.unload('other');
          await sleep(10);
        }
        return swaps;
      };
      const swapping = swap();
      const { port, streams } = served;
      const { phases } = await runFlood({
        ...{ kind: 'flood', port, streams, seed: 6 },
        phases: [{ name: 'soak', seconds: 1, rates: [300, 100] }],
      });
      isOver = true;
      const swaps = await swapping;
      for (const each of phases[0] ?? []) {
        checkSums(each);
        assert.deepEqual([each.refused, each.good], [0, each.due]);
      }
      assert.ok(swaps >= 1);
    } finally {
      await served.close();
    }
  });
});
