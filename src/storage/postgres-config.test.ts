import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parsePostgresUrl, postgresConfigSchema } from './postgres-config.ts';

describe('the address of PostgreSQL', () => {
  test('is a host or the folder of a socket, and says whether TLS is a must', () => {
    assert.deepEqual(parsePostgresUrl('postgresql://ada@db.example.org:6432/guardian'), {
      ...{ host: 'db.example.org', port: 6432, database: 'guardian', user: 'ada', isElsewhere: true },
    });
    assert.deepEqual(parsePostgresUrl('postgres:///g%20d?host=%2Frun%2Fpg&user=ada&port=5433'), {
      ...{ host: '/run/pg', port: 5433, database: 'g d', user: 'ada', isElsewhere: false },
    });
    for (const [host, isElsewhere] of [
      ['localhost', false],
      ['127.0.0.1', false],
      ['[::1]', false],
      ['127.0.0.1.example.org', true],
      ['localhost.example.org', true],
      ['10.0.0.1', true],
      ['[::ffff:127.0.0.1]', true],
    ] as const) {
      assert.equal(parsePostgresUrl(`postgresql://u@${host}/d`)?.isElsewhere, isElsewhere, host);
    }
  });

  const refused: readonly (readonly [string, string])[] = [
    ['a password', 'postgresql://ada:canary@localhost/d'],
    ['a password as a parameter', 'postgresql://ada@localhost/d?password=canary'],
    ['a mode that would switch TLS off', 'postgresql://ada@db.example.org/d?sslmode=disable'],
    ['options', 'postgresql://ada@localhost/d?options=-cfsync'],
    ['no user', 'postgresql://localhost/d'],
    ['no database', 'postgresql://ada@localhost/'],
    ['no host', 'postgresql:///d?user=ada'],
    ['a NUL', 'postgresql://ada@localhost/d%00'],
    ['broken encoding', 'postgresql://ada@localhost/%e0%a4%a'],
    ['a port that is none', 'postgresql:///d?host=/run&user=a&port=70000'],
    ['another protocol', 'https://ada@localhost/d'],
    ['text', 'canary'],
    ['endless text', `postgresql://ada@localhost/${'d'.repeat(3_000)}`],
  ];
  for (const [what, url] of refused) {
    test(`is refused with ${what}, and not repeated`, () => {
      assert.equal(parsePostgresUrl(url), undefined);
      const { error } = postgresConfigSchema.safeParse({ url });
      assert.ok(error !== undefined);
      assert.doesNotMatch(JSON.stringify(error.issues), /canary/);
    });
  }
});
