import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { answerHead } from '../answer-head.ts';
import { refusalOf } from '../error-mapping.ts';
import { ServerError } from '../errors.ts';
import type { ServerContext } from '../handler.ts';
import { LoadShedder, type ShedReason } from './load-shedder.ts';
import { type Front, SheddingConnection } from './shedding-connection.ts';

/** For the head of a request to arrive before its parts are passed on as they come. */
const HALF_HEAD_MS = 1_000;
const ROUTE = 'POST /v2/models/:name/infer';

/**
 * Stands before whatever parses a server's connections, and refuses inference requests there that would be answered too late: a
 * refusal that costs as much as an answer would leave no time for answers.
 */
export class SheddingFront implements Front {
  readonly #context: ServerContext;
  readonly #shedder: LoadShedder;
  readonly #connections = new WeakMap<Socket, SheddingConnection>();
  readonly #halves = new Set<SheddingConnection>();
  /** Refusals of this second. */
  readonly #refusals = new Map<string, Buffer>();
  #second = Number.NaN;
  #timer: NodeJS.Timeout | undefined;

  constructor(context: ServerContext) {
    const { guardian, metrics } = context;
    this.#context = context;
    this.#shedder = new LoadShedder({
      clock: guardian.clock,
      onShed: (reason, priority, count) => {
        const { code, category } = refusalFor(reason, 1).body;
        metrics.shed.add({ reason, priority }, count);
        metrics.refusals.add({ code, category }, count);
        metrics.requests.add({ route: ROUTE, status: '503' }, count);
      },
    });
  }

  /** For the connections of the server from now on; to be called when all else listens to them. */
  attach(server: Server, isTls: boolean): void {
    server.on(isTls ? 'secureConnection' : 'connection', (socket: Socket) => this.#adopt(socket));
    server.prependListener('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
      const connection = this.#connections.get(socket);
      if (connection !== undefined) response.once('close', () => connection.answered());
    });
  }

  /** What answers elsewhere than in the HTTP server says so here. */
  answered(socket: Socket): void {
    this.#connections.get(socket)?.answered();
  }

  offer(connection: SheddingConnection): boolean {
    return this.#shedder.offer(connection);
  }

  freed(): void {
    this.#shedder.freed();
  }

  noteHalf(connection: SheddingConnection): void {
    this.#halves.add(connection);
    this.#timer ??= setTimeout(() => this.#passHalves(), HALF_HEAD_MS).unref();
  }

  refusal(reason: ShedReason, isLast: boolean): Buffer {
    const now = this.#context.guardian.clock.now();
    const second = Math.floor(now / 1_000);
    if (second !== this.#second) this.#refusals.clear();
    this.#second = second;
    const key = `${reason} ${this.#shedder.retryAfterS} ${isLast}`;
    let refusal = this.#refusals.get(key);
    if (refusal === undefined) {
      const { status, headers, body } = refusalFor(reason, this.#shedder.retryAfterS);
      const json = JSON.stringify(body);
      const type = 'application/json; charset=utf-8';
      const head = { status, headers, type, length: json.length, isLast };
      refusal = Buffer.from(answerHead(head, now) + json);
      this.#refusals.set(key, refusal);
    }
    return refusal;
  }

  #adopt(socket: Socket): void {
    const [toParser] = socket.listeners('data');
    if (toParser === undefined || socket.destroyed) return;
    socket.removeListener('data', toParser as () => void);
    const connection = new SheddingConnection(
      socket,
      (bytes) => Reflect.apply(toParser, socket, [bytes]),
      this,
    );
    this.#connections.set(socket, connection);
    socket.on('data', (bytes: Buffer) => connection.receive(bytes, this.#shedder.readableSince()));
    socket.prependListener('end', () => connection.passAll());
    socket.once('close', () => {
      connection.close();
      this.#halves.delete(connection);
    });
  }

  #passHalves(): void {
    this.#timer = undefined;
    const halves = [...this.#halves];
    this.#halves.clear();
    for (const each of halves) each.passHalf();
  }
}

function refusalFor(reason: ShedReason, afterS: number) {
  const says = `more requests wait than can be answered in time (${reason})`;
  return refusalOf(new ServerError('server.overloaded', says, { retryAfterMs: afterS * 1_000 }));
}
