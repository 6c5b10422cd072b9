import type { Conversation } from './conversation.ts';

/** One planned packet, as handed to the frame writer. The object is reused. */
export interface PlannedPacket {
  timeUs: number;
  conversation: Conversation;
  fromServer: boolean;
  /** TCP flags; ICMP type; else 0. */
  flags: number;
  /** Bytes above the TCP, UDP or ICMP header; above the IP header for other protocols. */
  length: number;
  /** First bytes of the payload; the rest is zero. */
  payload: Uint8Array | undefined;
  /** TCP sequence and acknowledgement numbers; ICMP: code and rest of header. */
  sequence: number;
  acknowledgement: number;
}

const BITS = 20;
const SPAN = 2 ** BITS;

/** Packets of one span of time (2^20 microseconds), in columns. */
class Bucket {
  length = 0;
  times = new Float64Array(256);
  meta = new Uint32Array(256);
  sequences = new Uint32Array(256);
  acknowledgements = new Uint32Array(256);
  readonly conversations: Conversation[] = [];
  readonly payloads: (Uint8Array | undefined)[] = [];

  grow(): void {
    const size = this.times.length * 2;
    const wider = <T extends Float64Array | Uint32Array>(to: T, from: T): T => {
      to.set(from);
      return to;
    };
    this.times = wider(new Float64Array(size), this.times);
    this.meta = wider(new Uint32Array(size), this.meta);
    this.sequences = wider(new Uint32Array(size), this.sequences);
    this.acknowledgements = wider(new Uint32Array(size), this.acknowledgements);
  }
}

interface Task {
  readonly timeUs: number;
  readonly order: number;
  readonly run: (timeUs: number) => void;
}

/**
 * A calendar of what is going to happen. Tasks (an actor's next move) plan packets at their own time or later;
 * `packets` runs tasks and hands out packets in order of time. Memory holds what is planned ahead, never the past.
 * Order is decided by time, then by planning order: the same plans give the same sequence.
 */
export class Timeline {
  readonly #buckets = new Map<number, Bucket>();
  readonly #tasks: Task[] = [];
  readonly #endUs: number;
  #order = 0;
  #current = 0;

  constructor(endUs: number) {
    this.#endUs = endUs;
  }

  get endUs(): number {
    return this.#endUs;
  }

  /** Runs `run` when time has come to `timeUs`; tasks past the end are dropped. */
  at(timeUs: number, run: (timeUs: number) => void): void {
    if (timeUs >= this.#endUs) return;
    const tasks = this.#tasks;
    const task = { timeUs, order: this.#order++, run };
    let i = tasks.length;
    tasks.push(task);
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!isBefore(task, tasks[parent] as Task)) break;
      tasks[i] = tasks[parent] as Task;
      i = parent;
    }
    tasks[i] = task;
  }

  /** Plans a packet unless it lies outside the capture or its conversation's lens. Times are whole microseconds. */
  plan(
    conversation: Conversation,
    timeUs: number,
    fromServer: boolean,
    flags: number,
    length: number,
    sequence: number,
    acknowledgement: number,
    payload?: Uint8Array,
  ): void {
    const { lens } = conversation;
    if (timeUs < 0 || timeUs >= this.#endUs || timeUs < lens.fromUs || timeUs >= lens.toUs) return;
    if ((lens.directions & (fromServer ? 2 : 1)) === 0) return;
    const whole = Math.floor(timeUs);
    const key = Math.max(this.#current, Math.floor(whole / SPAN));
    let bucket = this.#buckets.get(key);
    if (bucket === undefined) {
      bucket = new Bucket();
      this.#buckets.set(key, bucket);
    }
    const i = bucket.length++;
    if (i === bucket.times.length) bucket.grow();
    bucket.times[i] = Math.max(whole, key * SPAN);
    bucket.meta[i] = (fromServer ? 0x80000000 : 0) + flags * 65536 + length;
    bucket.sequences[i] = sequence;
    bucket.acknowledgements[i] = acknowledgement;
    bucket.conversations[i] = conversation;
    bucket.payloads[i] = payload;
  }

  /** All packets in order of time. The same object is handed out each time. */
  *packets(): Generator<PlannedPacket> {
    let out: PlannedPacket | undefined;
    const spans = Math.ceil(this.#endUs / SPAN);
    for (this.#current = 0; this.#current < spans; this.#current++) {
      this.#runTasks((this.#current + 1) * SPAN);
      const bucket = this.#buckets.get(this.#current);
      if (bucket === undefined) continue;
      this.#buckets.delete(this.#current);
      const base = this.#current * SPAN;
      const keys = new Float64Array(bucket.length);
      for (let i = 0; i < bucket.length; i++) keys[i] = ((bucket.times[i] as number) - base) * 2 ** 32 + i;
      keys.sort();
      for (let k = 0; k < keys.length; k++) {
        const i = (keys[k] as number) % 2 ** 32;
        const meta = bucket.meta[i] as number;
        const conversation = bucket.conversations[i] as Conversation;
        const timeUs = bucket.times[i] as number;
        if (conversation.firstUs < 0) conversation.firstUs = timeUs;
        conversation.lastUs = timeUs;
        out ??= {
          timeUs: 0,
          conversation,
          fromServer: false,
          flags: 0,
          length: 0,
          payload: undefined,
          sequence: 0,
          acknowledgement: 0,
        };
        out.timeUs = timeUs;
        out.conversation = conversation;
        out.fromServer = meta >= 0x80000000;
        out.flags = (meta >>> 16) & 255;
        out.length = meta & 65535;
        out.payload = bucket.payloads[i];
        out.sequence = bucket.sequences[i] as number;
        out.acknowledgement = bucket.acknowledgements[i] as number;
        yield out;
      }
    }
  }

  #runTasks(untilUs: number): void {
    const tasks = this.#tasks;
    for (;;) {
      const first = tasks[0];
      if (first === undefined || first.timeUs >= untilUs) return;
      const last = tasks.pop() as Task;
      if (tasks.length > 0) {
        let i = 0;
        for (;;) {
          let child = 2 * i + 1;
          if (child >= tasks.length) break;
          if (child + 1 < tasks.length && isBefore(tasks[child + 1] as Task, tasks[child] as Task)) child++;
          if (!isBefore(tasks[child] as Task, last)) break;
          tasks[i] = tasks[child] as Task;
          i = child;
        }
        tasks[i] = last;
      }
      first.run(first.timeUs);
    }
  }
}

function isBefore(a: Task, b: Task): boolean {
  return a.timeUs < b.timeUs || (a.timeUs === b.timeUs && a.order < b.order);
}
