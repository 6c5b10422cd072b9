import type { Socket } from 'node:net';
import { answerHead } from '../answer-head.ts';
import { ServerError } from '../errors.ts';
import type { Gate } from '../gate.ts';
import type { ServerContext } from '../handler.ts';
import { SERVER_LIMITS } from '../limits.ts';
import { findModel } from '../oip/infer.ts';
import { type InferAnswer, JSON_LENGTH_HEADER } from '../oip/infer-answer.ts';
import { answerBody } from '../oip/inference-handlers.ts';
import { noteRefusal } from '../refuse.ts';
import { HeadReader, type RequestHead } from './request-head.ts';

/** What a connection asks of the lane of all. */
export interface Lane {
  readonly context: ServerContext;
  readonly gate: Pick<Gate, 'admit'>;
  /** No request begins any more: the HTTP server refuses them. */
  readonly isClosing: boolean;
  /** Told after each answer. */
  readonly onAnswered: ((socket: Socket) => void) | undefined;
  /** Gives a connection to the HTTP server, for good; what it has sent is in it again. */
  handOver(connection: LaneConnection, socket: Socket): void;
  /** It is gone. */
  forget(connection: LaneConnection): void;
}

/** A connection that has sent nothing for so long is the HTTP server's, which bounds how long it may take. */
const FIRST_BYTE_MS = 1_000;

/** A body that comes in more than one part. */
interface Arriving {
  readonly head: RequestHead;
  readonly body: Buffer;
  filled: number;
  readonly started: number;
  readonly timer: NodeJS.Timeout;
}

/** One connection of the lane: one request at a time, the next one read when the one before is answered. */
export class LaneConnection {
  readonly #lane: Lane;
  readonly #socket: Socket;
  readonly #source: string;
  readonly #heads = new HeadReader();
  /** Aborts where the connection goes: whatever it waits for then is of no use to anybody. */
  readonly #gone = new AbortController();
  #answered = 0;
  #isAnswering = false;
  /** An answer is written that the other side has not taken. */
  #isDraining = false;
  /** The rest of a body is not waited for. */
  #isRefused = false;
  /** The last answer has gone out. */
  #isOver = false;
  /** What came while a request was being answered. */
  #ahead: Buffer | undefined;
  #arriving: Arriving | undefined;
  /** Set once the connection is the HTTP server's and its bytes still come by way of here. */
  #toParser: ((chunk: Buffer) => void) | undefined;

  constructor(lane: Lane, socket: Socket) {
    this.#lane = lane;
    this.#socket = socket;
    this.#source = socket.remoteAddress ?? '';
    socket.on('data', this.#onData);
    socket.on('end', this.#onEnd);
    socket.on('error', this.#onError);
    socket.on('close', this.#onClose);
    socket.on('timeout', this.#onTimeout);
    socket.setNoDelay(true);
    socket.setTimeout(FIRST_BYTE_MS);
  }

  /** Where no request is under way, and the answers have gone. */
  endWhereIdle(): void {
    if (!this.#isAnswering && this.#arriving === undefined) this.#socket.destroySoon();
  }

  readonly #onData = (chunk: Buffer): void => {
    // What comes behind the last answer is no request, whatever it looks like.
    if (this.#isOver) return;
    if (this.#toParser !== undefined) this.#toParser(chunk);
    else if (this.#isAnswering) {
      // At most one part: nothing more is read until the answer has gone.
      this.#ahead = this.#ahead === undefined ? chunk : Buffer.concat([this.#ahead, chunk]);
      this.#socket.pause();
    } else if (this.#arriving !== undefined) this.#fill(this.#arriving, chunk);
    else this.#begin(chunk);
  };

  readonly #onEnd = (): void => {
    // Who sends no more waits for no more: so it is with the HTTP server, and a client that is gone looks like this.
    this.#gone.abort();
    this.#socket.end();
  };

  readonly #onError = (): void => {
    this.#socket.destroy();
  };

  readonly #onClose = (): void => {
    clearTimeout(this.#arriving?.timer);
    this.#arriving = undefined;
    this.#gone.abort();
    this.#lane.forget(this);
  };

  readonly #onTimeout = (): void => {
    // Who does not take its answer must not keep its place: only what is being scored is waited for.
    if (this.#isAnswering && !this.#isDraining) return;
    if (this.#answered === 0 && this.#arriving === undefined) this.#handOver();
    else this.#socket.destroy();
  };

  #begin(chunk: Buffer): void {
    const head = this.#lane.isClosing ? undefined : this.#heads.read(chunk);
    if (head === undefined) {
      this.#handOver(chunk);
      return;
    }
    const { bodyStart, bodyLength } = this.#heads;
    const missing = bodyLength - (chunk.length - bodyStart);
    // More than one request at once, or a longer one than is taken here: the HTTP server says so.
    if (missing < 0 || bodyLength > SERVER_LIMITS.inferBytes) {
      this.#handOver(chunk);
      return;
    }
    this.#isAnswering = true;
    if (missing === 0) void this.#answer(head, chunk.subarray(bodyStart));
    else void this.#admitLong(head, chunk.subarray(bodyStart), bodyLength);
  }

  /** Nothing is kept for a body before it is known who sends it. */
  async #admitLong(head: RequestHead, first: Buffer, length: number): Promise<void> {
    const started = this.#lane.context.guardian.clock.monotonic();
    this.#socket.pause();
    try {
      await this.#admit(head);
    } catch (error) {
      // The rest of the body is not waited for.
      this.#isRefused = true;
      this.#refuse(head, error, started);
      return;
    }
    if (this.#socket.destroyed) return;
    const timer = setTimeout(() => this.#isLate(head, started), SERVER_LIMITS.requestTimeoutMs);
    const arriving = { head, body: alignedBody(head, length), filled: 0, started, timer };
    this.#arriving = arriving;
    this.#isAnswering = false;
    this.#socket.setTimeout(SERVER_LIMITS.idleTimeoutMs);
    const ahead = this.#ahead;
    this.#ahead = undefined;
    this.#onData(first);
    if (ahead !== undefined) this.#onData(ahead);
    if (this.#ahead === undefined) this.#socket.resume();
  }

  #fill(arriving: Arriving, chunk: Buffer): void {
    const { head, body, started, timer } = arriving;
    const copied = chunk.copy(body, arriving.filled);
    arriving.filled += copied;
    if (arriving.filled < body.length) return;
    clearTimeout(timer);
    this.#arriving = undefined;
    this.#isAnswering = true;
    if (copied < chunk.length) {
      this.#ahead = chunk.subarray(copied);
      this.#socket.pause();
    }
    void this.#answer(head, body, started);
  }

  #isLate(head: RequestHead, started: number): void {
    this.#arriving = undefined;
    this.#isAnswering = true;
    this.#isRefused = true;
    const late = new ServerError('server.request-timeout', 'the request did not arrive in time');
    this.#refuse(head, late, started);
  }

  #admit({ url, headers, kept }: RequestHead) {
    return this.#lane.gate.admit({ method: 'POST', url, headers, kept, socket: this.#socket });
  }

  /** `admittedAt`: when its headers came, where it was let in before its body had come. */
  async #answer(head: RequestHead, body: Buffer, admittedAt?: number): Promise<void> {
    const { guardian } = this.#lane.context;
    const started = admittedAt ?? guardian.clock.monotonic();
    let answer: InferAnswer;
    try {
      if (admittedAt === undefined) await this.#admit(head);
      const asked = findModel(guardian, head.name, head.version);
      const waiting = { signal: this.#gone.signal, source: this.#source };
      answer = await answerBody(guardian, asked, { body, headers: head.headers, waiting });
    } catch (error) {
      this.#refuse(head, error, started);
      return;
    }
    if ('json' in answer) {
      const length = Buffer.byteLength(answer.json);
      const type = 'application/json; charset=utf-8';
      const text = this.#head({ status: 200, type, length }) + answer.json;
      // Text of as many bytes as characters is ASCII.
      this.#send(text, length === answer.json.length ? 'latin1' : 'utf8');
    } else {
      const { body, jsonLength } = answer;
      const headers = { [JSON_LENGTH_HEADER]: String(jsonLength) };
      const type = 'application/octet-stream';
      this.#socket.cork();
      this.#send(this.#head({ status: 200, type, length: body.length, headers }), 'latin1');
      this.#send(body);
      this.#socket.uncork();
    }
    this.#finish(head, 200, started);
  }

  #refuse(head: RequestHead, error: unknown, started: number): void {
    const { status, headers, body } = noteRefusal(this.#lane.context, error, `POST ${head.url}`);
    const json = JSON.stringify(body);
    const length = Buffer.byteLength(json);
    this.#send(
      this.#head({ status, headers, length, type: 'application/json; charset=utf-8' }) + json,
      'utf8',
    );
    this.#finish(head, status, started);
  }

  get #isLast(): boolean {
    if (this.#isRefused || this.#lane.isClosing) return true;
    return this.#answered + 1 >= SERVER_LIMITS.requestsPerConnection;
  }

  #head(answer: Omit<Parameters<typeof answerHead>[0], 'isLast'>): string {
    return answerHead({ ...answer, isLast: this.#isLast }, this.#lane.context.guardian.clock.now());
  }

  #send(part: string | Buffer, encoding?: 'latin1' | 'utf8'): void {
    if (!this.#socket.destroyed && this.#socket.writable) this.#socket.write(part, encoding);
  }

  #finish(head: RequestHead, status: number, started: number): void {
    const { metrics, guardian } = this.#lane.context;
    const route = `POST ${head.url}`;
    metrics.requests.add({ route, status: String(status) });
    metrics.duration.observe({ route }, (guardian.clock.monotonic() - started) / 1000);
    const socket = this.#socket;
    if (this.#isLast) {
      // What the other side still sends is read and dropped, so that it gets to read the answer.
      this.#isOver = true;
      socket.resume().end();
      socket.setTimeout(FIRST_BYTE_MS);
      // But not for longer than a request may take.
      const timer = setTimeout(() => socket.destroy(), SERVER_LIMITS.requestTimeoutMs);
      socket.once('close', () => clearTimeout(timer));
      this.#answered++;
      this.#isAnswering = false;
      return;
    }
    if (this.#answered++ === 0 || socket.timeout !== SERVER_LIMITS.keepAliveTimeoutMs) {
      socket.setTimeout(SERVER_LIMITS.keepAliveTimeoutMs);
    }
    this.#isDraining = socket.writableNeedDrain;
    if (this.#isDraining) socket.once('drain', this.#next);
    else this.#next();
  }

  /** The request behind the one that was answered, where it has come already. */
  readonly #next = (): void => {
    this.#isAnswering = false;
    this.#isDraining = false;
    this.#lane.onAnswered?.(this.#socket);
    const ahead = this.#ahead;
    if (ahead === undefined) return;
    this.#ahead = undefined;
    this.#socket.resume();
    this.#begin(ahead);
  };

  #handOver(chunk?: Buffer): void {
    const socket = this.#socket;
    // Where something stands before the lane and feeds it, the same goes on to feed the parser.
    const isFed = !socket.listeners('data').some((each) => each === this.#onData);
    socket.removeListener('data', this.#onData);
    socket.removeListener('end', this.#onEnd);
    socket.removeListener('error', this.#onError);
    socket.removeListener('close', this.#onClose);
    socket.removeListener('timeout', this.#onTimeout);
    socket.setTimeout(0);
    if (isFed) {
      const before = socket.listeners('data');
      this.#lane.handOver(this, socket);
      const parser = socket.listeners('data').find((each) => !before.includes(each));
      if (parser === undefined) return;
      const none = (): void => undefined;
      socket.removeListener('data', parser as (bytes: Buffer | string) => void);
      // A listener that comes later has the parser give the connection's bytes back.
      socket.on('data', none).removeListener('data', none);
      this.#toParser = (bytes) => Reflect.apply(parser, socket, [bytes]);
      if (chunk !== undefined) this.#toParser(chunk);
      return;
    }
    socket.pause();
    if (chunk !== undefined) socket.unshift(chunk);
    this.#lane.handOver(this, socket);
    socket.resume();
  }
}

/** Room for a body, so laid out that values behind its JSON are aligned and need no copy. */
function alignedBody({ headers }: RequestHead, length: number): Buffer {
  const jsonLength = Number(headers[JSON_LENGTH_HEADER] ?? 0);
  const offset = Number.isSafeInteger(jsonLength) ? (4 - (jsonLength % 4)) % 4 : 0;
  // Read only once it is full.
  return Buffer.allocUnsafeSlow(length + offset).subarray(offset);
}
