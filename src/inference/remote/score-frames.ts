import type { Milliseconds } from '../../base/index.ts';
import type { ScoreBatchBuffers } from '../../models/index.ts';
import type { Priority } from '../admission/refusal.ts';
import { PRIORITIES } from '../admission/refusal.ts';
import { InferenceError } from '../errors.ts';

/**
 * What owner and workers say about one batch, little endian. A request: magic, rows, columns, what is left of its deadline
 * in ms, priority (u32 each), then Float32 values, row-major. An answer: magic, rows, then Float32 probabilities and Int16
 * kinds. A refusal: magic, ms after which to ask again, then its code.
 */
const REQUEST = 0x31_51_47_41;
const ANSWER = 0x31_41_47_41;
const REFUSAL = 0x31_52_47_41;
export const REQUEST_HEADER = 20;
const ANSWER_HEADER = 8;
const MAX_ROWS = 65_536;
const MAX_CODE = 64;

export interface ScoreRequest {
  readonly rows: number;
  readonly columns: number;
  readonly deadlineMs: Milliseconds;
  readonly priority: Priority;
  /** Float32Array, row-major; a view on the frame where that is aligned. */
  readonly values: Float32Array;
}

/** Why a worker did not score a batch. */
export interface ScoreRefusal {
  readonly code: string;
  readonly retryAfterMs: Milliseconds;
}

/** Requests for one model; those who have it share them. */
export function scoreSubject(object: string): string {
  return `inference.score.${object}`;
}

export function encodeRequest(request: ScoreRequest): Uint8Array {
  const { rows, columns, values } = request;
  const frame = new Uint8Array(REQUEST_HEADER + rows * columns * 4);
  new Float32Array(frame.buffer, REQUEST_HEADER, rows * columns).set(values.subarray(0, rows * columns));
  writeRequestHeader(frame, request);
  return frame;
}

/** For values that lie in the frame already, REQUEST_HEADER bytes from its start. */
export function writeRequestHeader(
  frame: Uint8Array,
  { rows, columns, deadlineMs, priority }: Omit<ScoreRequest, 'values'>,
): void {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  view.setUint32(0, REQUEST, true);
  view.setUint32(4, rows, true);
  view.setUint32(8, columns, true);
  view.setUint32(12, Math.max(1, Math.min(0xffff_ffff, Math.floor(deadlineMs))), true);
  view.setUint32(16, PRIORITIES.indexOf(priority), true);
}

/** Throws `inference.offer-refused` for whatever is not exactly one request. */
export function decodeRequest(frame: Uint8Array): ScoreRequest {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  if (frame.length < REQUEST_HEADER || view.getUint32(0, true) !== REQUEST) throw malformed('a batch');
  const rows = view.getUint32(4, true);
  const columns = view.getUint32(8, true);
  const priority = PRIORITIES[view.getUint32(16, true)];
  const isWhole = rows <= MAX_ROWS && frame.length === REQUEST_HEADER + rows * columns * 4;
  if (!isWhole || priority === undefined) throw malformed('a batch');
  const deadlineMs = view.getUint32(12, true);
  return { rows, columns, deadlineMs, priority, values: floatsAt(frame, REQUEST_HEADER, rows * columns) };
}

export function encodeAnswer(rows: number, { probability, kind }: ScoreBatchBuffers): Uint8Array {
  const frame = new Uint8Array(ANSWER_HEADER + rows * 6);
  const view = new DataView(frame.buffer);
  view.setUint32(0, ANSWER, true);
  view.setUint32(4, rows, true);
  new Float32Array(frame.buffer, ANSWER_HEADER, rows).set(probability.subarray(0, rows));
  new Int16Array(frame.buffer, ANSWER_HEADER + rows * 4, rows).set(kind.subarray(0, rows));
  return frame;
}

export function encodeRefusal({ code, retryAfterMs }: ScoreRefusal): Uint8Array {
  const text = Buffer.from(code.slice(0, MAX_CODE), 'latin1');
  const frame = new Uint8Array(8 + text.length);
  const view = new DataView(frame.buffer);
  view.setUint32(0, REFUSAL, true);
  view.setUint32(4, Math.max(0, Math.min(0xffff_ffff, Math.ceil(retryAfterMs))), true);
  frame.set(text, 8);
  return frame;
}

/** Writes an answer for so many rows to `out`, or gives the refusal. Throws `inference.offer-refused`. */
export function readAnswer(
  frame: Uint8Array,
  rows: number,
  out: ScoreBatchBuffers,
): ScoreRefusal | undefined {
  if (frame.length < 8) throw malformed('an answer');
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  const magic = view.getUint32(0, true);
  if (magic === REFUSAL && frame.length <= 8 + MAX_CODE) {
    const code = Buffer.from(frame.subarray(8)).toString('latin1');
    if (!/^[a-z]+(\.[a-z-]+)+$/.test(code)) throw malformed('an answer');
    return { code, retryAfterMs: view.getUint32(4, true) };
  }
  const isWhole =
    magic === ANSWER && view.getUint32(4, true) === rows && frame.length === ANSWER_HEADER + rows * 6;
  if (!isWhole) throw malformed(`an answer for ${rows} rows`);
  out.probability.set(floatsAt(frame, ANSWER_HEADER, rows));
  const kinds = ANSWER_HEADER + rows * 4;
  for (let row = 0; row < rows; row++) out.kind[row] = view.getInt16(kinds + row * 2, true);
  return undefined;
}

function floatsAt(frame: Uint8Array, at: number, length: number): Float32Array {
  const from = frame.byteOffset + at;
  if (from % 4 === 0) return new Float32Array(frame.buffer, from, length);
  return new Float32Array(frame.slice(at, at + length * 4).buffer);
}

function malformed(what: string): InferenceError {
  return new InferenceError('inference.offer-refused', `expected ${what} in a frame of version 1`);
}
