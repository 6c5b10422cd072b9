import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { mock, suite, test } from 'node:test';
import fc from 'fast-check';
import { openServedHouse } from '../../test/support/served-guardian.ts';
import { ManualClock } from '../base/index.ts';
import { buildServer } from './build-server.ts';
import { limitConnections } from './connection-limit.ts';
import { addressGroup, TokenBuckets } from './token-buckets.ts';

const HOST = 'guardian.test:8411';

suite('a token bucket', () => {
  test('lets its burst through at once, then its rate, and says how long to wait', () => {
    const clock = new ManualClock();
    const buckets = new TokenBuckets(clock, { perSecond: 4, burst: 10 }, 8);
    const taken = (n: number) =>
      Array.from({ length: n }, () => buckets.take('a')).filter((wait) => wait === 0).length;
    assert.equal(taken(50), 10);
    assert.equal(buckets.take('a'), 250);
    clock.advance(249);
    assert.equal(buckets.take('a'), 1);
    clock.advance(1);
    assert.equal(buckets.take('a'), 0);
    clock.advance(2_000);
    assert.equal(taken(50), 8);
    clock.advance(3_600_000);
    assert.equal(taken(50), 10);
    assert.equal(buckets.take('b'), 0, 'each name has its own');
  });

  test('never lets more through than burst plus rate times time', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 50 }),
        fc.integer({ min: 1, max: 50 }),
        fc.array(fc.integer({ min: 0, max: 400 }), { maxLength: 200 }),
        (perSecond, burst, pauses) => {
          const clock = new ManualClock();
          const buckets = new TokenBuckets(clock, { perSecond, burst }, 2);
          let passed = 0;
          let elapsed = 0;
          for (const pause of pauses) {
            clock.advance(pause);
            elapsed += pause;
            if (buckets.take('a') === 0) passed++;
          }
          return passed <= burst + (perSecond * elapsed) / 1000 + 1e-6;
        },
      ),
      { seed: 11, numRuns: 200 },
    );
  });

  test('forgets the name unused longest for a new one', () => {
    const buckets = new TokenBuckets(new ManualClock(), { perSecond: 1, burst: 1 }, 2);
    assert.deepEqual(
      ['a', 'b', 'a', 'c', 'a', 'b'].map((name) => buckets.take(name) === 0),
      [true, true, false, true, false, true],
    );
  });

  test('counts a network of IPv6 as one address', () => {
    assert.equal(addressGroup('2001:db8:0:1::1'), addressGroup('2001:db8::1:0:0:0:9'));
    assert.equal(addressGroup('2001:0db8::1'), '2001:db8:0:0::/64');
    assert.notEqual(addressGroup('2001:db8:0:1::1'), addressGroup('2001:db8:0:2::1'));
    assert.equal(addressGroup('fe80::1%eth0'), 'fe80:0:0:0::/64');
    assert.equal(addressGroup('::1'), '0:0:0:0::/64');
    assert.equal(addressGroup('::ffff:192.0.2.1'), '192.0.2.1');
    assert.equal(addressGroup('192.0.2.1'), '192.0.2.1');
  });
});

suite('the rate of requests', () => {
  test('is limited by caller and by address, with Retry-After, and denied in the log', async () => {
    const rateLimit = { principalPerSecond: 2, principalBurst: 5, addressPerSecond: 1, addressBurst: 20 };
    const house = await openServedHouse({ withModel: false, config: { server: { rateLimit } } });
    const owner = await buildServer(house.guardian, { trust: 'local' });
    const app = await buildServer(house.guardian, { trust: 'api-keys', allowedHosts: [HOST] });
    const keys: string[] = [];
    for (const label of ['one', 'two']) {
      const payload = { label, roles: ['viewer'] };
      const made = await owner.inject({ method: 'POST', url: '/v1/access', payload });
      keys.push(made.json<{ key: string }>().key);
    }
    const get = (key: string | undefined, remoteAddress: string, url = '/v1/status') =>
      app.inject({
        url,
        remoteAddress,
        headers: { host: HOST, ...(key !== undefined && { authorization: `Bearer ${key}` }) },
      });
    const [one, two] = keys;
    const denied = mock.method(house.guardian, 'denied');
    for (let i = 0; i < 5; i++) assert.equal((await get(one, '192.0.2.1')).statusCode, 200);
    const refused = await get(one, '192.0.2.2');
    assert.equal(refused.statusCode, 429, 'the same caller from another address');
    assert.equal(refused.headers['retry-after'], '1');
    assert.equal(refused.json<{ code: string; retry: boolean }>().code, 'server.rate-limited');
    assert.equal((await get(two, '192.0.2.1')).statusCode, 200, 'another caller from the same address');
    house.clock.advance(1_000);
    assert.deepEqual(
      [await get(one, '192.0.2.1'), await get(one, '192.0.2.1'), await get(one, '192.0.2.1')].map(
        ({ statusCode }) => statusCode,
      ),
      [200, 200, 429],
    );
    const statuses: number[] = [];
    for (let i = 0; i < 25; i++) {
      statuses.push((await get(undefined, '192.0.2.9', '/v2/health/live')).statusCode);
    }
    assert.deepEqual([statuses.filter((each) => each === 200).length, statuses.at(-1)], [20, 429]);
    assert.equal((await get(one, '192.0.2.9')).statusCode, 429, 'the address is asked first');
    for (let i = 0; i < 40; i++) {
      assert.equal(
        (await owner.inject('/v2/health/live')).statusCode,
        200,
        'the owner of the socket is not limited',
      );
    }
    const reasons = denied.mock.calls.map(
      ({ arguments: [denial] }) => `${denial.principal} ${denial.reason}`,
    );
    assert.match(reasons[0] ?? '', /^one#[0-9a-f]{16} server\.rate-limited$/);
    assert.equal(reasons.at(-1), 'peer:192.0.2.9 server.rate-limited');
    denied.mock.restore();
    await app.close();
    await owner.close();
    await house.close();
  });
});

suite('connections', () => {
  test('of one address are bounded, but not those of this machine', () => {
    const server = new EventEmitter();
    limitConnections(server as unknown as Parameters<typeof limitConnections>[0], 2);
    const open = (remoteAddress: string | undefined) => {
      const socket = Object.assign(new EventEmitter(), { remoteAddress, destroyed: false, destroy() {} });
      socket.destroy = () => {
        socket.destroyed = true;
      };
      server.emit('connection', socket);
      return socket;
    };
    const first = open('192.0.2.1');
    assert.deepEqual([open('192.0.2.1').destroyed, open('192.0.2.1').destroyed], [false, true]);
    assert.equal(open('192.0.2.2').destroyed, false);
    first.emit('close');
    assert.equal(open('192.0.2.1').destroyed, false);
    for (const own of ['127.0.0.1', '::1', '::ffff:127.0.0.1', undefined]) {
      for (let i = 0; i < 5; i++) assert.equal(open(own).destroyed, false);
    }
  });
});
