import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import type { Score } from '../models/index.ts';
import { Guardrails } from './guardrails.ts';
import { readMachineAddresses } from './machine-addresses.ts';
import type { NetworkSet } from './network-set.ts';
import { createPolicy } from './policy.ts';

/** What users of other systems complained of; each must not happen here. */
suite('complaints of the field', () => {
  const NOW = Date.UTC(2026, 0, 1);
  const score: Score = {
    probability: 1,
    verdict: 'attack',
    kind: 'password-guessing',
    confidence: 1,
    model: { name: 'flow', version: '1.0.0', digest: `sha256:${'0'.repeat(64)}` },
    certificate: 'active',
  };
  const judge = (
    source: string,
    config: Parameters<typeof createPolicy>[0] = {},
    protectedSet?: NetworkSet,
  ) =>
    new Guardrails(
      createPolicy(
        { mode: 'enforce', ...config },
        { hasActuator: true, ...(protectedSet !== undefined && { protectedSet }) },
      ),
    ).judge({ score, source, sourceProven: true, nowMs: NOW });

  test('a whitelist entry is never taken for a ban (caddy-crowdsec-bouncer#116)', () => {
    const rails = new Guardrails(createPolicy({ allowList: ['198.51.100.7', '203.0.113.0/24'] }));
    assert.deepEqual(rails.standing(NOW), []);
    for (const source of ['198.51.100.7', '203.0.113.1']) {
      const decision = rails.judge({ score, source, sourceProven: true, nowMs: NOW });
      assert.equal(decision.vetoedBy, 'allow-list');
    }
    assert.deepEqual(rails.standing(NOW), []);
  });

  test('the administrator is not locked out (Charon#939)', () => {
    const environment = { SSH_CONNECTION: '198.51.100.20 51234 192.0.2.1 22' };
    const protectedSet = readMachineAddresses({ root: '/nonexistent', own: [], environment });
    const decision = judge('198.51.100.20', {}, protectedSet);
    assert.equal(decision.verdict, 'vetoed');
    assert.match(decision.reason, /administrator/);
  });

  test('the whitelist is not ignored (wazuh#13969, #14067, ossec-hids#1801, crowdsec#3462, #3656)', () => {
    const allowList = ['198.51.100.7', { network: '2001:db8:5::/48', reason: 'partner' }];
    for (const source of ['198.51.100.7', '::ffff:198.51.100.7', '2001:db8:5::9', '2001:0DB8:0005:0::9']) {
      assert.equal(judge(source, { allowList }).vetoedBy, 'allow-list', source);
    }
  });

  test('a whitelist entry that cannot be read is refused, not skipped (ossec-hids#1801)', () => {
    for (const network of ['198.51.100.7/33', '10.0.0.1/8', 'partner.example', '198.51.100.*', '']) {
      assert.throws(() => judge('203.0.113.9', { allowList: [network] }), { code: 'response.bad-network' });
    }
  });

  test('own, CDN and gateway addresses are not banned (fail2ban#1718, #3974, crowdsec hub#417)', (t) => {
    const root = mkdtempSync(join(tmpdir(), 'response-'));
    t.after(() => rmSync(root, { recursive: true }));
    mkdirSync(join(root, 'proc/net'), { recursive: true });
    mkdirSync(join(root, 'etc'));
    writeFileSync(
      join(root, 'proc/net/route'),
      'Iface\tDestination\tGateway\tFlags\neth0\t00000000\t016433C6\t0003\neth0\t0000A8C0\t00000000\t0001\n',
    );
    const hop = '20010db8000000000000000000000001';
    const zero = '0'.repeat(32);
    writeFileSync(
      join(root, 'proc/net/ipv6_route'),
      `${zero} 00 ${zero} 00 ${hop} 00000400 1 0 3 eth0\n${zero} 00 ${zero} 00 ${zero} 00000400 1 0 3 lo\n`,
    );
    writeFileSync(
      join(root, 'etc/resolv.conf'),
      '# made by hand\nnameserver 9.9.9.9\nnameserver fe80::1%eth0\n',
    );
    const own = [
      { address: '192.0.2.10', cidr: '192.0.2.10/24' },
      { address: '2001:db8:1::10', cidr: '2001:db8:1::10/64' },
    ];
    const protectedSet = readMachineAddresses({ root, own, environment: {} });
    const expected = [
      ['192.0.2.10', /own address/],
      ['::ffff:192.0.2.10', /own address/],
      ['2001:db8:1::10', /own address/],
      ['192.0.2.255', /broadcast/],
      ['198.51.100.1', /gateway/],
      ['2001:db8::1', /gateway/],
      ['9.9.9.9', /DNS resolver/],
      ['104.16.7.7', /our CDN/],
    ] as const;
    const protect = [{ network: '104.16.0.0/13', reason: 'our CDN' }];
    for (const [source, reason] of expected) {
      const decision = judge(source, { protect }, protectedSet);
      assert.equal(decision.vetoedBy, 'protected-set', source);
      assert.match(decision.reason, reason);
    }
    assert.equal(judge('192.0.2.11', { protect }, protectedSet).verdict, 'block');
  });

  test('a malformed target such as "." never becomes one (wazuh#13952)', () => {
    for (const source of [
      '.',
      '',
      '-',
      'localhost',
      '1.2.3.4/24',
      '1.2.3.4;reboot',
      '$(id)',
      '::1%lo',
      '1.2.3',
    ]) {
      const decision = judge(source);
      assert.equal(decision.verdict, 'observe', source);
      assert.equal(decision.action, undefined);
    }
  });

  test("one host's ban is not applied everywhere (wazuh#32531)", () => {
    const make = (scope: string) =>
      new Guardrails(createPolicy({ mode: 'enforce', scope }, { hasActuator: true }));
    const [one, other] = [make('gate-1'), make('gate-2')];
    const decision = one.judge({ score, source: '203.0.113.9', sourceProven: true, nowMs: NOW });
    assert.equal(decision.action?.scope, 'gate-1');
    assert.equal(one.standing(NOW).length, 1);
    assert.deepEqual(other.standing(NOW), []);
  });

  test('bad intelligence entries 0.0.0.0 and 255.255.255.255 are no targets (Slips#1094)', () => {
    const never = [
      '0.0.0.0',
      '255.255.255.255',
      '0.1.2.3',
      '127.0.0.1',
      '127.9.9.9',
      '169.254.1.1',
      '224.0.0.251',
      '239.255.255.250',
      '240.0.0.1',
      '::',
      '::1',
      'fe80::1',
      'ff02::1',
      '64:ff9b::cb00:7109',
      '2002:cb00:7109::1',
    ];
    for (const source of never) {
      const decision = judge(source);
      assert.equal(decision.verdict, 'observe', source);
      assert.equal(decision.action, undefined, source);
    }
  });

  test('an IPv4-mapped IPv6 spelling bypasses no list and is the same target', () => {
    for (const source of ['::ffff:203.0.113.9', '::FFFF:CB00:7109', '0:0:0:0:0:ffff:203.0.113.9']) {
      assert.equal(judge(source, { allowList: ['203.0.113.9'] }).vetoedBy, 'allow-list');
      assert.equal(judge(source, { protect: ['203.0.113.0/24'] }).vetoedBy, 'protected-set');
      assert.equal(judge(source).action?.target, '203.0.113.9');
    }
    assert.equal(judge('::ffff:127.0.0.1').verdict, 'observe');
    assert.equal(judge('203.0.113.9', { allowList: ['::ffff:203.0.113.0/120'] }).vetoedBy, 'allow-list');
  });
});
