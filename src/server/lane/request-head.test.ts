import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { after, before, suite, test } from 'node:test';
import fc from 'fast-check';
import { HeadReader } from './request-head.ts';

const GOOD = [
  'POST /v2/models/flow/infer HTTP/1.1',
  'Host: 127.0.0.1:8411',
  'Authorization: Bearer agk_x',
  'content-length: 3',
  'guardian-priority: batch',
];

const read = (lines: readonly string[], body = 'abc', reader = new HeadReader()) =>
  reader.read(Buffer.from(`${lines.join('\r\n')}\r\n\r\n${body}`, 'latin1'));
/** The good head with one line in place of another, or behind the last one. */
const withLine = (line: string, at = GOOD.length) => GOOD.toSpliced(at, 1, line);

suite('a plain head', () => {
  test('gives names, model and headers, and where the body lies', () => {
    const reader = new HeadReader();
    const head = read(GOOD, 'abc', reader);
    assert.deepEqual([head?.url, head?.name, head?.version], ['/v2/models/:name/infer', 'flow', undefined]);
    assert.deepEqual(head?.headers, {
      host: '127.0.0.1:8411',
      authorization: 'Bearer agk_x',
      'guardian-priority': 'batch',
    });
    assert.deepEqual([reader.bodyStart, reader.bodyLength], [GOOD.join('\r\n').length + 4, 3]);
    const versioned = read(withLine('POST /v2/models/a-1/versions/1.0.0-rc/infer HTTP/1.1', 0));
    assert.deepEqual(
      [versioned?.url, versioned?.name, versioned?.version],
      ['/v2/models/:name/versions/:version/infer', 'a-1', '1.0.0-rc'],
    );
  });

  test('is the one before it where only the length differs, and no other', () => {
    const reader = new HeadReader();
    const first = read(GOOD, 'abc', reader);
    assert.equal(read(withLine('content-length: 12345', 3), 'abc', reader), first);
    assert.equal(reader.bodyLength, 12_345);
    const other = read(withLine('Authorization: Bearer agk_y', 2), 'abc', reader);
    assert.notEqual(other, first);
    assert.equal(other?.headers.authorization, 'Bearer agk_y');
    for (const length of ['', '03', '-3', '3 ', '+3', '123456789', '3a']) {
      const again = read(withLine(`content-length: ${length}`, 3), 'abc', reader);
      assert.equal(again, undefined, `a length of ${JSON.stringify(length)}`);
    }
  });

  const refused: readonly (readonly [string, readonly string[]])[] = [
    ['another method', withLine('PUT /v2/models/flow/infer HTTP/1.1', 0)],
    ['another version of HTTP', withLine('POST /v2/models/flow/infer HTTP/1.0', 0)],
    ['another path', withLine('POST /v2/models/flow HTTP/1.1', 0)],
    ['a path with a query', withLine('POST /v2/models/flow/infer?a=b HTTP/1.1', 0)],
    ['a path in other letters', withLine('POST /v2/models/Flow/infer HTTP/1.1', 0)],
    ['an encoded path', withLine('POST /v2/models/%66low/infer HTTP/1.1', 0)],
    ['a name that is too long', withLine(`POST /v2/models/a${'b'.repeat(63)}/infer HTTP/1.1`, 0)],
    ['two spaces', withLine('POST  /v2/models/flow/infer HTTP/1.1', 0)],
    ['a folded header', withLine(' and more')],
    ['a header without a value', withLine('accept:')],
    ['a header without a space', withLine('accept:*/*')],
    ['a header with a tab', withLine('accept: a\tb')],
    ['a header with a space before the colon', withLine('accept : */*')],
    ['a header with another letter', withLine('user-agent: \xe9')],
    ['a lone line feed', withLine('accept: a\ncontent-length: 4')],
    ['a second length', withLine('Content-Length: 3')],
    ['a second host', withLine('host: other')],
    ['no length', GOOD.toSpliced(3, 1)],
    ['an empty body', withLine('content-length: 0', 3)],
    ['chunks', withLine('transfer-encoding: chunked')],
    ['an upgrade', withLine('upgrade: h2c')],
    ['an expectation', withLine('expect: 100-continue')],
    ['an encoded body', withLine('content-encoding: gzip')],
    ['an origin', withLine('origin: http://127.0.0.1:8411')],
    ['a last request', withLine('connection: close')],
    ['a header that it does not know', withLine('x-forwarded-for: 10.0.0.1')],
    ['a header named like a field of every object', withLine('constructor: a')],
  ];
  for (const [what, lines] of refused) {
    test(`is not one with ${what}`, () => assert.equal(read(lines), undefined));
  }

  test('is not one before its last byte has come', () => {
    const text = `${GOOD.join('\r\n')}\r\n\r\n`;
    for (let length = 0; length < text.length; length++) {
      const reader = new HeadReader();
      assert.equal(reader.read(Buffer.from(text.slice(0, length))), undefined);
      assert.ok(reader.read(Buffer.from(text)) !== undefined);
      assert.equal(reader.read(Buffer.from(text.slice(0, length))), undefined, 'nor where it was whole once');
    }
  });
});

suite('a head that is read here', () => {
  let server: Server;
  const seen: { message: IncomingMessage; body: string }[] = [];

  before(async () => {
    server = createServer((message, response) => {
      let body = '';
      message.on('data', (part: Buffer) => {
        body += part.toString('latin1');
      });
      message.on('end', () => {
        seen.push({ message, body });
        response.end();
      });
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  after(() => server.close().closeAllConnections());

  test('means the same to the parser of HTTP', async () => {
    const { port } = server.address() as AddressInfo;
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    const value = fc.stringMatching(/^[!-~]( ?[!-~]{1,8}){0,4}$/);
    const name = fc.constantFrom('Accept', 'user-agent', 'TraceParent', 'content-type', 'x-request-id');
    const head = fc.record({
      model: fc.constantFrom('flow', 'a', 'b-2/versions/1.0.0', 'b-2/versions/2.0.0_x', 'Flow', 'a/../b'),
      fields: fc.uniqueArray(fc.tuple(name, value), { selector: ([key]) => key.toLowerCase(), maxLength: 4 }),
      oddly: fc.constantFrom(
        '',
        '',
        '',
        ' x: 1\r\n',
        'te: trailers\r\n',
        'content-length: 1\r\n',
        'host:\r\n',
      ),
      body: fc.stringMatching(/^[ -~]{1,40}$/),
    });
    let plain = 0;
    await fc.assert(
      fc.asyncProperty(head, async ({ model, fields, oddly, body }) => {
        const lines = fields.map(([key, text]) => `${key}: ${text}\r\n`).join('');
        const text = `POST /v2/models/${model}/infer HTTP/1.1\r\nHost: a\r\n${lines}${oddly}Content-Length: ${body.length}\r\n\r\n${body}`;
        const reader = new HeadReader();
        const found = reader.read(Buffer.from(text));
        if (found === undefined) return;
        plain++;
        socket.write(text);
        await once(socket, 'data');
        const { message, body: parsed } = seen.pop() ?? {};
        const { version } = found;
        const path = `/v2/models/${found.name}${version === undefined ? '' : `/versions/${version}`}/infer`;
        assert.deepEqual([message?.method, message?.url], ['POST', path]);
        assert.deepEqual({ ...found.headers, 'content-length': String(reader.bodyLength) }, message?.headers);
        assert.equal(text.slice(reader.bodyStart, reader.bodyStart + reader.bodyLength), parsed);
      }),
      { seed: 6, numRuns: 500 },
    );
    socket.destroy();
    assert.ok(plain > 100, `${plain} were plain`);
  });
});
