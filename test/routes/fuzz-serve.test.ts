import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fuzzServe } from '../support/fuzz-serve.ts';

test('nearly right requests are answered or refused by name, over HTTP and gRPC', async (t) => {
  const result = await fuzzServe({ seed: 20_261_123, injected: 1_600, overSockets: 200, overGrpc: 300 });
  assert.equal(result.sent + result.closed, 2_100);
  for (const code of ['server.body-malformed', 'server.request-invalid', 'server.tensor-invalid']) {
    assert.ok((result.codes[code] ?? 0) > 20, `${code}: ${result.codes[code]}`);
  }
  t.diagnostic(JSON.stringify(result.statuses));
});
