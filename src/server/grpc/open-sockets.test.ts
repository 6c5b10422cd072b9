import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { suite, test } from 'node:test';
import { OpenSockets } from './open-sockets.ts';

function socket(localAddress: string): Socket {
  const ends = { localAddress, localPort: 8443, remoteAddress: '192.0.2.1', remotePort: 50_000 };
  return Object.assign(new EventEmitter(), ends) as unknown as Socket;
}

suite('open connections', () => {
  test('are told apart where one peer has the same port to two addresses of this machine', () => {
    const sockets = new OpenSockets();
    const [one, other] = [socket('198.51.100.1'), socket('198.51.100.2')];
    sockets.add(one);
    sockets.add(other);
    assert.equal(sockets.find(one), one);
    assert.equal(sockets.find(other), other);
    one.emit('close');
    assert.equal(sockets.find(one), undefined);
    assert.equal(sockets.find(other), other);
  });
});
