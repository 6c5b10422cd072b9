import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { suite, type TestContext, test } from 'node:test';
import { createServer as createTlsServer } from 'node:tls';
import { CertificateShop } from '../../../test/support/certificates.ts';
import { exfiltration, NOW, openNotices } from '../../../test/support/notice-house.ts';
import { encodeSyslog, frameSyslog } from './syslog-message.ts';

/** RFC 5424, section 6: header and message, without structured data. */
const FORM = /^<(\d{1,3})>1 (\S+) (\S{1,255}) (\S{1,48}) (\S{1,128}) (\S{1,32}) - (\ufeff)?(.*)$/;

function parseSyslog(text: string) {
  const [, priority, time, hostname, appName, processId, messageId, mark, message] = FORM.exec(text) ?? [];
  return { priority: Number(priority), time, hostname, appName, processId, messageId, mark, message };
}

/** Takes octet-counted frames off the front of what was received. */
function readFrames(bytes: Buffer): string[] {
  const frames: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(0x20, at);
    const length = Number(bytes.toString('ascii', at, space));
    frames.push(bytes.toString('utf8', space + 1, space + 1 + length));
    at = space + 1 + length;
  }
  return frames;
}

interface Collected {
  readonly port: number;
  readonly sockets: Set<Socket>;
  frames(): string[];
  until(count: number): Promise<void>;
}

async function collect(
  t: TestContext,
  options: { readonly tls?: { readonly cert: string; readonly key: string }; readonly port?: number } = {},
): Promise<Collected> {
  const parts = new Map<Socket, Buffer[]>();
  const sockets = new Set<Socket>();
  let wake = () => {};
  const take = (socket: Socket) => {
    sockets.add(socket);
    parts.set(socket, []);
    socket
      .on('error', () => {})
      .on('data', (chunk: Buffer) => {
        parts.get(socket)?.push(chunk);
        wake();
      });
  };
  const server = options.tls === undefined ? createServer(take) : createTlsServer(options.tls, take);
  server.on('tlsClientError', () => {});
  server.listen(options.port ?? 0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const frames = () => [...parts.values()].flatMap((chunks) => readFrames(Buffer.concat(chunks)));
  return {
    port: (server.address() as AddressInfo).port,
    sockets,
    frames,
    until: async (count) => {
      while (frames().length < count) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
}

suite('syslog', () => {
  test('carries CEF in RFC 5424 by UDP', async (t) => {
    const socket = createSocket('udp4');
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    t.after(() => socket.close());
    const sink = {
      type: 'syslog',
      name: 'log',
      host: '127.0.0.1',
      port: socket.address().port,
      transport: 'udp',
    };
    const { delivery, store } = await openNotices(t, [sink]);
    await delivery.start();
    const arrived = once(socket, 'message');
    const [raised] = await store.record([exfiltration('10.0.0.5')]);
    const [bytes] = (await arrived) as [Buffer];
    const message = parseSyslog(bytes.toString('utf8'));
    assert.equal(message.priority, 16 * 8 + (raised?.severity === 'critical' ? 2 : 3));
    assert.equal(message.time, new Date(NOW).toISOString());
    assert.equal(message.appName, 'ai-guardian');
    assert.equal(message.processId, String(process.pid));
    assert.equal(message.messageId, 'create');
    assert.match(message.message ?? '', /^CEF:0\|AI Guardian\|/);
    assert.match(message.message ?? '', new RegExp(`externalId=${raised?.uid}`));
  });

  test('counts octets over TCP, and connects again when the receiver went', async (t) => {
    const receiver = await collect(t);
    const sink = { type: 'syslog', name: 'log', host: '127.0.0.1', port: receiver.port };
    const { delivery, store } = await openNotices(t, [sink]);
    await delivery.start();
    await store.record(['10.0.0.5', '10.0.0.6'].map(exfiltration));
    await delivery.idle();
    await receiver.until(2);
    for (const frame of receiver.frames()) assert.match(parseSyslog(frame).message ?? '', /^CEF:0\|/);
    const [first] = [...receiver.sockets];
    const gone = once(first as Socket, 'close');
    first?.end();
    await gone;
    await store.record([exfiltration('10.0.0.7')]);
    await delivery.idle();
    await receiver.until(3);
    assert.equal(delivery.stats.log?.delivered, 3);
  });

  test('speaks TLS to whom the configured authority vouches for, and to nobody else', async (t) => {
    const shop = new CertificateShop();
    t.after(() => shop.close());
    const authority = shop.authority('logs');
    const stranger = shop.authority('strangers');
    const own = shop.issue(authority, { names: ['log'], alternative: 'IP:127.0.0.1', usage: 'serverAuth' });
    const tls = { cert: readFileSync(own.certFile, 'utf8'), key: readFileSync(own.keyFile, 'utf8') };
    const receiver = await collect(t, { tls });
    const at = { type: 'syslog', host: '127.0.0.1', port: receiver.port, transport: 'tls' };
    const { delivery, store, lost } = await openNotices(t, [
      { ...at, name: 'good', caFile: authority.certFile },
      { ...at, name: 'bad', caFile: stranger.certFile, giveUpAfterMs: 1_000 },
    ]);
    await delivery.start();
    await store.record([exfiltration('10.0.0.5')]);
    await delivery.idle();
    await receiver.until(1);
    assert.equal(receiver.frames().length, 1);
    assert.deepEqual(
      lost.map(({ sink, because }) => [sink, because]),
      [['bad', 'expired']],
    );
  });

  test('marks text beyond ASCII, counts bytes and not characters, and leaves no field empty', () => {
    const parts = {
      facility: 1,
      severity: 2,
      time: 0,
      hostname: 'a b\n',
      appName: '',
      processId: '1',
      messageId: 'x',
    };
    const bytes = encodeSyslog({ ...parts, text: 'CEF:0|ö' });
    const read = parseSyslog(bytes.toString('utf8'));
    assert.deepEqual([read.priority, read.hostname, read.appName, read.mark], [10, 'ab', '-', '\ufeff']);
    assert.equal(read.message, 'CEF:0|ö');
    assert.equal(frameSyslog(bytes).toString('utf8', 0, 3), `${bytes.length} `);
    assert.equal(parseSyslog(encodeSyslog({ ...parts, text: 'plain' }).toString('utf8')).mark, undefined);
  });
});
