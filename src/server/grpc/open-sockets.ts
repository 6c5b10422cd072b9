import type { Socket } from 'node:net';

/** Connections by the name that a call gives of its peer: the call itself does not lead to its socket. */
export class OpenSockets {
  readonly #sockets = new Map<string, Socket>();

  /** Until it closes. */
  add(socket: Socket): void {
    const name = `${socket.remoteAddress}:${socket.remotePort}`;
    this.#sockets.set(name, socket);
    socket.once('close', () => {
      if (this.#sockets.get(name) === socket) this.#sockets.delete(name);
    });
  }

  find(peer: string): Socket | undefined {
    return this.#sockets.get(peer);
  }

  destroyAll(): void {
    for (const socket of this.#sockets.values()) socket.destroy();
  }
}
