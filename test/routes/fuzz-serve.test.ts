import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { listenHttp } from '../../src/server/index.ts';
import { fuzzServe } from '../support/fuzz-serve.ts';
import { openServedHouse } from '../support/served-guardian.ts';

test('nearly right requests are answered or refused by name, over HTTP and gRPC', async (t) => {
  const result = await fuzzServe({ seed: 20_261_123, injected: 1_600, overSockets: 200, overGrpc: 300 });
  assert.equal(result.sent + result.closed, 2_100);
  for (const code of ['server.body-malformed', 'server.request-invalid', 'server.tensor-invalid']) {
    assert.ok((result.codes[code] ?? 0) > 20, `${code}: ${result.codes[code]}`);
  }
  t.diagnostic(JSON.stringify(result.statuses));
});

test('a request without a Host header is refused by name', async () => {
  const house = await openServedHouse({ withModel: false });
  const http = await listenHttp(house.guardian, { host: '127.0.0.1', port: 0 });
  const socket = connect(Number(new URL(http.url).port), '127.0.0.1');
  let answer = '';
  socket.on('data', (part) => {
    answer += part;
  });
  socket.write('GET /v2/health/live HTTP/1.1\r\nConnection: close\r\n\r\n');
  await once(socket, 'close');
  assert.match(answer, /^HTTP\/1\.1 421 [\s\S]*"code":"server\.host-refused"/);
  await http.close();
  await house.close();
});
