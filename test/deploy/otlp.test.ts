import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { openServedHouse } from '../support/served-guardian.ts';

test('a guardian that is told of an OTLP receiver sends its metrics, the last ones as it closes', async () => {
  const received: string[] = [];
  const server = createServer((request, response) => {
    let text = '';
    request.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    request.on('end', () => {
      received.push(text);
      response.end('{}');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/metrics`;
  const house = await openServedHouse({ config: { metrics: { otlp: { url } } } });
  await house.close();
  server.closeAllConnections();
  server.close();
  assert.equal(received.length, 1);
  for (const name of ['guardian_audit_entries', 'guardian_inference_total_seconds', 'guardian_flows_total']) {
    assert.ok(received[0]?.includes(`"name":"${name}"`), name);
  }
});
