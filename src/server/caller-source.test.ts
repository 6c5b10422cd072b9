import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { configurationSchema } from '../configuration.ts';
import { TrustedProxies } from './caller-source.ts';

const PROXY = '10.0.0.1';

suite('the source of a request', () => {
  test('is its peer, whatever it says, where no proxy is trusted', () => {
    assert.equal(new TrustedProxies([]).sourceOf(PROXY, '192.0.2.7'), PROXY);
    assert.equal(new TrustedProxies(['10.0.0.2']).sourceOf(PROXY, '192.0.2.7'), PROXY);
  });

  test('is the nearest address that is no trusted proxy, and nothing that a caller put before it', () => {
    const proxies = new TrustedProxies(['10.0.0.0/24', '2001:db8::/32']);
    for (const [forwarded, source] of [
      ['192.0.2.7', '192.0.2.7'],
      ['203.0.113.9, 192.0.2.7', '192.0.2.7'],
      ['203.0.113.9, 192.0.2.7, 10.0.0.2', '192.0.2.7'],
      ['203.0.113.9, 2001:db9::1, 2001:db8::5', '2001:db9::1'],
      ['10.0.0.3', '10.0.0.3'],
      ['192.0.2.7, unknown', PROXY],
      ['192.0.2.7, unknown, 10.0.0.9', '10.0.0.9'],
      ['', PROXY],
      [',,,', PROXY],
    ] as const) {
      assert.equal(proxies.sourceOf(PROXY, forwarded), source, forwarded);
    }
    assert.equal(proxies.sourceOf(PROXY, ['203.0.113.9', '192.0.2.7']), '192.0.2.7');
    assert.equal(
      proxies.sourceOf('::ffff:10.0.0.1', '192.0.2.7'),
      '192.0.2.7',
      'an IPv4 peer of a socket for both',
    );
    assert.equal(proxies.sourceOf(PROXY, `${'10.0.0.2,'.repeat(100_000)}10.0.0.2`), '10.0.0.2');
  });

  test('is configured by addresses and networks alone', () => {
    const isTaken = (network: string) =>
      configurationSchema.safeParse({ server: { trustedProxies: [network] } }).success;
    for (const good of ['10.0.0.1', '10.0.0.0/8', '::1', '2001:db8::/32']) assert.ok(isTaken(good), good);
    for (const bad of ['proxy.example', '10.0.0.0/33', '10.0.0.1/8/8', '::1/129', '']) {
      assert.ok(!isTaken(bad), bad);
    }
  });
});
