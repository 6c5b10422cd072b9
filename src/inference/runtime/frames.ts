/**
 * What parent and process say to each other over one pipe: frames of a header of five little-endian words (kind, number of
 * the batch, rows, bytes that follow, resident KiB of whoever sends it) and their bytes. Text is JSON.
 */
export const FRAMES = { settings: 1, graph: 2, score: 3, ready: 4, scored: 5, failed: 6, note: 7 } as const;
export type FrameKind = (typeof FRAMES)[keyof typeof FRAMES];

export const HEADER_BYTES = 20;

export interface FrameHead {
  readonly kind: number;
  readonly id: number;
  readonly rows: number;
  readonly bytes: number;
  readonly residentKib: number;
}

/** First frame to the process, in JSON. */
export interface RuntimeSettings {
  readonly provider: string;
  readonly columns: number;
  readonly output: {
    readonly name: string;
    readonly column: number;
    readonly link: 'probability' | 'margin';
  };
  /** Rows of a batch at most. */
  readonly batchRows: number;
  readonly threads: number;
  readonly niceness: number;
}

/** What a provider other than the CPU gave in the check at the start. */
export interface ProviderTrial {
  readonly provider: string;
  /** Largest difference of a probability to the CPU's. */
  readonly difference?: number;
  /** Milliseconds a batch by its rows, CPU's first. */
  readonly times?: readonly { readonly rows: number; readonly cpuMs: number; readonly ms: number }[];
  /** Why it is not used. */
  readonly refused?: string;
}

/** Answer of the process once the graph is loaded, in JSON. */
export interface RuntimeFacts {
  /** SHA-256 of the graph that was received, in hex. */
  readonly digest: string;
  readonly provider: string;
  /** Batches of at least so many rows go to the provider, smaller ones to the CPU. */
  readonly fromRows: number;
  readonly trials: readonly ProviderTrial[];
}

export function writeHead(into: Uint8Array, head: FrameHead): void {
  const view = new DataView(into.buffer, into.byteOffset, HEADER_BYTES);
  view.setUint32(0, head.kind, true);
  view.setUint32(4, head.id, true);
  view.setUint32(8, head.rows, true);
  view.setUint32(12, head.bytes, true);
  view.setUint32(16, head.residentKib, true);
}

/** A frame of text, or of bytes that are copied. */
export function frameOf(kind: FrameKind, content: string | Uint8Array, id = 0): Uint8Array {
  const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content;
  const frame = new Uint8Array(HEADER_BYTES + bytes.length);
  writeHead(frame, { kind, id, rows: 0, bytes: bytes.length, residentKib: 0 });
  frame.set(bytes, HEADER_BYTES);
  return frame;
}

/** Joins chunks to frames. Content lies in one buffer that is used again: it counts until `push` is called next. */
export class FrameReader {
  readonly #maxBytes: number;
  readonly #onFrame: (head: FrameHead, content: Uint8Array) => void;
  readonly #headBytes = new Uint8Array(HEADER_BYTES);
  #head: FrameHead | undefined;
  #content = new Uint8Array(0);
  #filled = 0;

  /** Frames with more than `maxBytes` of content are refused. */
  constructor(maxBytes: number, onFrame: (head: FrameHead, content: Uint8Array) => void) {
    this.#maxBytes = maxBytes;
    this.#onFrame = onFrame;
  }

  /** False where the sender does not keep to the form: nothing it says after that counts. */
  push(chunk: Uint8Array): boolean {
    let at = 0;
    while (at < chunk.length) {
      if (this.#head === undefined) {
        at += this.#fill(this.#headBytes, HEADER_BYTES, chunk, at);
        if (this.#filled < HEADER_BYTES) return true;
        this.#head = readHead(this.#headBytes);
        this.#filled = 0;
        const { bytes } = this.#head;
        if (bytes > this.#maxBytes) return false;
        if (this.#content.length < bytes) {
          this.#content.fill(0);
          this.#content = new Uint8Array(bytes);
        }
      }
      const { bytes } = this.#head;
      at += this.#fill(this.#content, bytes, chunk, at);
      if (this.#filled < bytes) return true;
      const head = this.#head;
      this.#head = undefined;
      this.#filled = 0;
      this.#onFrame(head, this.#content.subarray(0, bytes));
    }
    return true;
  }

  /** Forgets what has been received; lets go of the buffer where no other like it will come. */
  wipe(isLast = false): void {
    this.#content.fill(0);
    if (isLast) this.#content = new Uint8Array(0);
  }

  #fill(into: Uint8Array, length: number, chunk: Uint8Array, at: number): number {
    const size = Math.min(length - this.#filled, chunk.length - at);
    into.set(chunk.subarray(at, at + size), this.#filled);
    this.#filled += size;
    return size;
  }
}

function readHead(bytes: Uint8Array): FrameHead {
  const view = new DataView(bytes.buffer, bytes.byteOffset, HEADER_BYTES);
  return {
    kind: view.getUint32(0, true),
    id: view.getUint32(4, true),
    rows: view.getUint32(8, true),
    bytes: view.getUint32(12, true),
    residentKib: view.getUint32(16, true),
  };
}
