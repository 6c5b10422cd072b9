import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Api, ApiError, socketTransport } from './api.ts';

describe('the socket of the owner', () => {
  let folder: string;
  let path: string;
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => {
      body += chunk;
    });
    request.on('end', () => {
      const isRefused = request.url === '/refused';
      response.writeHead(isRefused ? 403 : 200, { 'content-type': 'application/json' });
      response.end(
        isRefused
          ? '{"error":"not yours","code":"server.forbidden","category":"security","retry":false}'
          : JSON.stringify({ method: request.method, url: request.url, body }),
      );
    });
  });
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'guardian-api-'));
    path = join(folder, 'guardian.sock');
    await new Promise<void>((resolve) => server.listen(path, resolve));
  });
  after(async () => {
    await new Promise((resolve) => server.close(resolve));
    await rm(folder, { recursive: true });
  });

  it('carries a request and its answer', async () => {
    const api = new Api(socketTransport(path));
    assert.deepEqual(await api.call('POST', '/v1/x?y=1', { a: 1 }), {
      method: 'POST',
      url: '/v1/x?y=1',
      body: '{"a":1}',
    });
  });

  it('turns a refusal into an error with its code', async () => {
    const api = new Api(socketTransport(path));
    await assert.rejects(api.call('GET', '/refused'), (error: ApiError) => {
      assert.ok(error instanceof ApiError);
      assert.equal(error.code, 'server.forbidden');
      assert.equal(error.category, 'security');
      assert.equal(error.status, 403);
      assert.equal(error.message, 'not yours');
      return true;
    });
  });

  it('names the socket where nobody answers', async () => {
    const api = new Api(socketTransport(join(folder, 'nobody.sock')));
    await assert.rejects(api.call('GET', '/'), { code: 'cli.unavailable' });
  });
});
