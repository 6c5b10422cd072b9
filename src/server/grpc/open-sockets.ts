import type { Socket } from 'node:net';

/** Both ends of a connection, as a call and a socket tell them. */
export interface ConnectionEnds {
  readonly localAddress?: string | undefined;
  readonly localPort?: number | undefined;
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
}

/**
 * Connections by their ends: a call itself does not lead to its socket. The far end alone would not do: of one address and
 * port there may be a connection to each address of this machine, with another certificate.
 */
export class OpenSockets {
  readonly #sockets = new Map<string, Socket>();

  /** Until it closes. */
  add(socket: Socket): void {
    const name = nameOf(socket);
    this.#sockets.set(name, socket);
    socket.once('close', () => {
      if (this.#sockets.get(name) === socket) this.#sockets.delete(name);
    });
  }

  find(ends: ConnectionEnds): Socket | undefined {
    return this.#sockets.get(nameOf(ends));
  }

  destroyAll(): void {
    for (const socket of this.#sockets.values()) socket.destroy();
  }
}

function nameOf({ localAddress, localPort, remoteAddress, remotePort }: ConnectionEnds): string {
  return [localAddress, localPort, remoteAddress, remotePort].join(' ');
}
