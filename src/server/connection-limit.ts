import type { Server, Socket } from 'node:net';
import { SERVER_LIMITS } from './limits.ts';
import { addressGroup } from './token-buckets.ts';

/**
 * Closes connections of an address that has its share of them open already, so that one stranger cannot take them all
 * before any request is read. Loopback has no share: every caller there has one address.
 */
export function limitConnections(server: Server, most: number = SERVER_LIMITS.connectionsPerAddress): void {
  const open = new Map<string, number>();
  server.prependListener('connection', (socket: Socket) => {
    const address = socket.remoteAddress;
    if (address === undefined || /^(::1|(::ffff:)?127\.)/i.test(address)) return;
    const group = addressGroup(address);
    const count = (open.get(group) ?? 0) + 1;
    if (count > most) {
      socket.destroy();
      return;
    }
    open.set(group, count);
    socket.once('close', () => {
      const left = (open.get(group) ?? 1) - 1;
      if (left === 0) open.delete(group);
      else open.set(group, left);
    });
  });
}
