import type { Server, Socket } from 'node:net';
import { Server as TlsServer } from 'node:tls';
import type { Gate } from '../gate.ts';
import type { ServerContext } from '../handler.ts';
import { type Lane, LaneConnection } from './lane-connection.ts';

/**
 * Answers inference requests at their connection, without the request and response objects that cost more than the rest: a
 * connection stays here for as long as all it sends is plain requests to score (`HeadReader`), and goes to the HTTP server
 * with its first other byte. Who comes in is decided by the same gate, and the answer is made by the same code.
 */
export class InferLane implements Lane {
  readonly context: ServerContext;
  readonly gate: Gate;
  /** Told after each answer. Where something stands before the lane, this is when the next request of the connection may come. */
  onAnswered: ((socket: Socket) => void) | undefined;
  /** No request begins any more: the HTTP server refuses them. */
  isClosing = false;
  readonly #connections = new Set<LaneConnection>();
  readonly #accept: (socket: Socket) => void;

  /** To be made before anything else listens to the server's connections. */
  constructor(context: ServerContext, gate: Gate, server: Server) {
    this.context = context;
    this.gate = gate;
    const event = server instanceof TlsServer ? 'secureConnection' : 'connection';
    const own = server.listeners(event);
    this.#accept = (socket) => {
      for (const accept of own) Reflect.apply(accept, server, [socket]);
    };
    server.removeAllListeners(event);
    server.on(event, (socket: Socket) => {
      // One that was refused already.
      if (!socket.destroyed) this.#connections.add(new LaneConnection(this, socket));
    });
  }

  handOver(connection: LaneConnection, socket: Socket): void {
    this.#connections.delete(connection);
    Reflect.apply(this.#accept, undefined, [socket]);
  }

  forget(connection: LaneConnection): void {
    this.#connections.delete(connection);
  }

  /** Ends connections that wait for a request; the others once they are answered. */
  close(): void {
    this.isClosing = true;
    for (const connection of this.#connections) connection.endWhereIdle();
  }
}
