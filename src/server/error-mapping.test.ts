import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { loadErrorCatalogues } from '../../test/support/error-catalogues.ts';
import { type ErrorCatalogue, GuardianError, ManualClock } from '../base/index.ts';
import { BadKeyCount } from './bad-key-count.ts';
import { refusalOf } from './error-mapping.ts';
import { SERVER_LIMITS } from './limits.ts';

class AnyError extends GuardianError {
  constructor(catalogue: ErrorCatalogue, code: string) {
    super(catalogue, code, 'expected one thing, got another');
  }
}

suite('the mapping of codes to HTTP', () => {
  test('gives every code of the product a refusal, and Retry-After where a retry may help', async () => {
    for (const { entries } of await loadErrorCatalogues()) {
      for (const [code, { category, retry }] of Object.entries(entries)) {
        const { status, headers, body } = refusalOf(new AnyError(entries, code));
        assert.ok(status >= 400 && status <= 599, code);
        assert.equal(headers['retry-after'] !== undefined, retry, code);
        assert.deepEqual(body, { error: 'expected one thing, got another', code, category, retry });
        if (category === 'validation')
          assert.ok(status < 500, `${code} is the caller's fault, not ${status}`);
        if (category === 'resource' && !code.startsWith('inference.')) assert.ok(status >= 500, code);
      }
    }
  });

  test('tells a stranger nothing about an unknown error', () => {
    for (const error of [new TypeError('x is not a function'), 'text', undefined, { code: 'ENOENT' }]) {
      const { status, body } = refusalOf(error);
      assert.equal(status, 500);
      assert.equal(body.code, 'server.internal');
      assert.doesNotMatch(JSON.stringify(body), /function|text|ENOENT/);
    }
  });
});

suite('the count of bad keys', () => {
  test('remembers a bounded number of peers, forgetting the one seen first', () => {
    const count = new BadKeyCount(new ManualClock());
    for (let i = 0; i < SERVER_LIMITS.badKeys; i++) assert.equal(count.add('first'), false);
    assert.equal(count.add('first'), true);
    for (let i = 0; i < SERVER_LIMITS.countedPeers; i++) count.add(`peer ${i}`);
    assert.equal(count.add('first'), false);
  });

  test('begins anew when the window is over', () => {
    const clock = new ManualClock();
    const count = new BadKeyCount(clock);
    for (let i = 0; i <= SERVER_LIMITS.badKeys; i++) count.add('peer');
    assert.equal(count.add('peer'), true);
    clock.advance(SERVER_LIMITS.badKeyWindowMs);
    assert.equal(count.add('peer'), false);
  });
});
