import type { Socket } from 'node:net';
import type { Milliseconds } from '../../base/index.ts';
import type { Priority } from '../../inference/index.ts';
import { SERVER_LIMITS } from '../limits.ts';
import type { Queued, ShedReason } from './load-shedder.ts';
import { type FrameKind, FrameReader } from './request-frames.ts';

/** What one connection asks of what stands before all of them. */
export interface Front {
  /** As `LoadShedder`. */
  offer(connection: SheddingConnection): boolean;
  freed(): void;
  /** The bytes of a head lie here that is not all there. */
  noteHalf(connection: SheddingConnection): void;
  /** The whole answer to a refused request. */
  refusal(reason: ShedReason, isLast: boolean): Buffer;
}

interface Arrival {
  readonly bytes: Buffer;
  readonly at: Milliseconds;
}

const frames = new FrameReader();

/**
 * The bytes of one connection on their way to the parser of HTTP: one request at a time, the next one when the one before is
 * answered, so that answers stay in order and a pipeline holds no more than its share. A request that is refused never
 * reaches the parser. What is not understood here passes untouched, from then on.
 */
export class SheddingConnection implements Queued {
  next: Queued | undefined;
  priority: Priority = 'live';
  arrivedAt: Milliseconds = 0;
  readonly #socket: Socket;
  readonly #toParser: (bytes: Buffer) => void;
  readonly #front: Front;
  /** Not yet passed on, from `#offset` on, then `#later`. */
  #bytes: Buffer | undefined;
  #offset = 0;
  #later: Arrival[] = [];
  #held = 0;
  /** Length of the request at the head; 0 where it has not been read. */
  #headLength = 0;
  #headKind: FrameKind = 'other';
  #isLast = false;
  /** The last request has gone on. */
  #isOver = false;
  /** For the rest of a refused body, or the other side's end, to come. */
  #lateTimer: NodeJS.Timeout | undefined;
  /** Bytes of a body that are still to come: of a request that went on, and of one that was refused. */
  #toPass = 0;
  #toDrop = 0;
  /** A request is on its way. */
  #isBusy = false;
  /** Its refusals are not being read. */
  #isBlocked = false;
  #isPaused = false;
  #isOpaque = false;
  #isGone = false;

  constructor(socket: Socket, toParser: (bytes: Buffer) => void, front: Front) {
    this.#socket = socket;
    this.#toParser = toParser;
    this.#front = front;
  }

  get isWaiting(): boolean {
    return this.#headLength > 0 && !this.#isGone;
  }

  get hasMore(): boolean {
    return this.#held > this.#headLength;
  }

  receive(bytes: Buffer, at: Milliseconds): void {
    // What is sent after the last answer is read by nobody.
    if (this.#isGone || this.#socket.writableEnded) return;
    if (this.#isOpaque) {
      this.#toParser(bytes);
      return;
    }
    const rest = this.#toPass + this.#toDrop > 0 ? this.#continueBody(bytes) : bytes;
    if (rest === undefined || this.#isOver) return;
    this.#held += rest.length;
    if (this.#bytes === undefined) {
      this.#bytes = rest;
      this.#offset = 0;
      this.arrivedAt = at;
    } else this.#later.push({ bytes: rest, at });
    if (this.#headLength === 0) this.#advance();
    // Again where it was resumed: what is fed here pauses and resumes the connection, too.
    if (this.#held > SERVER_LIMITS.waitingBytes) {
      this.#isPaused = true;
      this.#socket.pause();
    }
  }

  pass(): void {
    this.#isBusy = true;
    const isLast = this.#isLast;
    this.#toPass = this.#headLength;
    this.#headLength = 0;
    // In one piece, where all of it is there.
    if (this.#toPass > this.#here) this.#join(this.#toPass);
    while (this.#toPass > 0 && this.#bytes !== undefined) {
      const part = this.#take(this.#toPass);
      this.#toPass -= part.length;
      this.#toParser(part);
    }
    if (isLast) this.#dropRest();
    this.#resume();
  }

  refuse(reason: ShedReason, isRefused: (queued: Queued) => boolean): number {
    let refused = 0;
    let isEnd = false;
    do {
      refused++;
      isEnd = this.#isLast;
      this.#toDrop = this.#headLength;
      this.#headLength = 0;
      while (this.#toDrop > 0 && this.#bytes !== undefined) this.#toDrop -= this.#take(this.#toDrop).length;
    } while (!isEnd && this.#readHead() === 'infer' && isRefused(this));
    if (isEnd || this.#toDrop > 0) {
      this.#lateTimer = setTimeout(() => this.#socket.destroy(), SERVER_LIMITS.requestTimeoutMs).unref();
    }
    this.#send(reason, refused, isEnd);
    this.#resume();
    this.#advance();
    return refused;
  }

  /** The request that was on its way has its answer, and the connection stays. */
  answered(): void {
    this.#isBusy = false;
    this.#goOn();
  }

  /** A head that is still not all there is the parser's to judge, and its clock's. */
  passHalf(): void {
    if (!this.#isBusy && !this.#isBlocked && this.#readHead() === 'partial') this.passAll();
  }

  /** From here on everything goes to the parser as it comes. */
  passAll(): void {
    this.#isOpaque = true;
    this.#toPass = 0;
    this.#headLength = 0;
    while (this.#bytes !== undefined && !this.#isGone) this.#toParser(this.#take(this.#bytes.length));
    this.#resume();
  }

  close(): void {
    this.#isGone = true;
    clearTimeout(this.#lateTimer);
    this.#dropRest();
  }

  /** What comes behind the last request is none: the parser would answer it, and in the place of that request. */
  #dropRest(): void {
    this.#isOver = true;
    this.#bytes = undefined;
    this.#later = [];
    this.#held = 0;
  }

  /** Passes on what may go on, until a request is on its way or has to wait. */
  #advance(): void {
    while (!this.#isBusy && !this.#isBlocked && !this.#isGone) {
      switch (this.#readHead()) {
        case 'none':
          return;
        case 'partial':
          this.#front.noteHalf(this);
          return;
        case 'opaque':
          this.passAll();
          return;
        case 'infer':
          if (!this.#front.offer(this)) return;
          break;
        default:
      }
      this.pass();
    }
  }

  /** Reads the head that comes next, where it has not been read yet. */
  #readHead(): FrameKind | 'none' {
    if (this.#headLength > 0) return this.#headKind;
    if (this.#isOpaque || this.#toDrop > 0 || this.#toPass > 0 || this.#bytes === undefined) return 'none';
    let kind = frames.read(this.#bytes, this.#offset);
    while (kind === 'partial' && this.#join(2 * this.#here)) kind = frames.read(this.#bytes, this.#offset);
    if (kind === 'partial' || kind === 'opaque') return kind;
    this.#headKind = kind;
    this.#headLength = frames.headBytes + frames.bodyBytes;
    this.#isLast = frames.isLast;
    this.priority = frames.priority;
    return kind;
  }

  #continueBody(bytes: Buffer): Buffer | undefined {
    if (this.#toPass > 0) {
      const part = bytes.length <= this.#toPass ? bytes : bytes.subarray(0, this.#toPass);
      this.#toPass -= part.length;
      this.#toParser(part);
      return part.length < bytes.length ? bytes.subarray(part.length) : undefined;
    }
    const dropped = Math.min(this.#toDrop, bytes.length);
    this.#toDrop -= dropped;
    if (this.#toDrop === 0) clearTimeout(this.#lateTimer);
    return dropped < bytes.length ? bytes.subarray(dropped) : undefined;
  }

  /** Bytes of the oldest arrival. */
  get #here(): number {
    return this.#bytes === undefined ? 0 : this.#bytes.length - this.#offset;
  }

  /** Up to so many of the oldest bytes. */
  #take(most: number): Buffer {
    const bytes = this.#bytes as Buffer;
    const end = Math.min(bytes.length, this.#offset + most);
    const part = this.#offset === 0 && end === bytes.length ? bytes : bytes.subarray(this.#offset, end);
    this.#held -= part.length;
    this.#offset = end;
    if (end < bytes.length) return part;
    const next = this.#later.shift();
    this.#bytes = next?.bytes;
    this.#offset = 0;
    if (next !== undefined) this.arrivedAt = next.at;
    return part;
  }

  /** Joins the rest with what came after it, up to so many bytes and in one go; whether anything had. */
  #join(wanted: number): boolean {
    if (this.#later.length === 0) return false;
    let here = this.#here;
    let count = 0;
    // One at least.
    do here += (this.#later[count++] as Arrival).bytes.length;
    while (here < wanted && count < this.#later.length);
    const joined = this.#later.splice(0, count).map(({ bytes }) => bytes);
    this.#bytes = Buffer.concat([(this.#bytes as Buffer).subarray(this.#offset), ...joined]);
    this.#offset = 0;
    return true;
  }

  /** So many refusals; behind the last one the connection ends, where `isEnd`. */
  #send(reason: ShedReason, count: number, isEnd: boolean): void {
    const one = this.#front.refusal(reason, false);
    if (isEnd) {
      const before = Array<Buffer>(count - 1).fill(one);
      this.#isGone = true;
      this.#socket.end(Buffer.concat([...before, this.#front.refusal(reason, true)]));
      return;
    }
    const all = count === 1 ? one : Buffer.allocUnsafe(one.length * count).fill(one);
    if (this.#socket.write(all)) return;
    // Who does not read the answers is not read, either.
    this.#isBlocked = true;
    this.#socket.once('drain', () => {
      this.#isBlocked = false;
      this.#goOn();
    });
  }

  #goOn(): void {
    if (this.#isGone) return;
    this.#advance();
    this.#front.freed();
  }

  #resume(): void {
    if (!this.#isPaused || this.#held > SERVER_LIMITS.waitingBytes / 2) return;
    this.#isPaused = false;
    this.#socket.resume();
  }
}
