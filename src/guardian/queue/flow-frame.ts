import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { z } from 'zod';
import type { Bytes, Milliseconds } from '../../base/index.ts';
import {
  CONNECTION_STATES,
  END_REASONS,
  FLOW_NUMBER_INDEX,
  FLOW_NUMBERS,
  FlowBatch,
  type FlowNumber,
  IDENTITY,
  IDENTITY_WORDS,
  SOURCE_KINDS,
  TUNNEL_KINDS,
} from '../../traffic/index.ts';
import { QueueError } from './errors.ts';

/** First byte of a frame: how the rest lies there. */
const PLAIN = 1;
const DEFLATED = 2;
/** Shorter ones are not worth the time. */
const DEFLATE_ABOVE: Bytes = 256 * 1024;
/** The largest result: 10,000 flows of a body of 8 MiB, each with its score. */
const MAX_INFLATED: Bytes = 32 * 1024 * 1024;
/** What a date can say, ms from 1970. */
const MAX_TIME: Milliseconds = 8.64e15;

const text = z.string().max(255);
const flowsHeader = z.strictObject({
  sourceKind: z.enum(SOURCE_KINDS),
  rows: z.int().min(0).max(65_536),
  columns: z.array(z.enum(FLOW_NUMBERS)),
  names: z.array(
    z.tuple([
      z.int().min(0),
      z.strictObject({
        dns: z.array(text).max(16).exactOptional(),
        sni: text.exactOptional(),
        ja4: text.exactOptional(),
        reportedAlert: text.exactOptional(),
      }),
    ]),
  ),
});

/**
 * What is said of flows, and the flows as columns. A byte for the form; then, deflated or not, the length of a JSON
 * text (uint32), that text, the identities (uint32, rows x IDENTITY_WORDS) and the columns that hold any number (float64),
 * which the text names. All little-endian.
 */
export function encodeFrame(says: Readonly<Record<string, unknown>>, flows: FlowBatch): Uint8Array {
  const { rows } = flows;
  const columns = FLOW_NUMBERS.filter((name) => !flows.column(name).subarray(0, rows).every(Number.isNaN));
  const header = { ...says, flows: { sourceKind: flows.sourceKind, rows, columns, names: [...flows.names] } };
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(json.length);
  const body = Buffer.concat([
    ...[length, json, bytesOf(flows.identity.subarray(0, rows * IDENTITY_WORDS))],
    ...columns.map((name) => bytesOf(flows.column(name).subarray(0, rows))),
  ]);
  const isLarge = body.length > DEFLATE_ABOVE;
  return Buffer.concat([
    Buffer.of(isLarge ? DEFLATED : PLAIN),
    isLarge ? deflateRawSync(body, { level: 1 }) : body,
  ]);
}

/** What is said, unchecked, and the flows, checked. Throws `guardian.message-malformed`. */
export function decodeFrame(frame: Uint8Array): {
  readonly says: Readonly<Record<string, unknown>>;
  readonly flows: FlowBatch;
} {
  try {
    const { about, says, rest } = readText(frame);
    return { says, flows: readFlows(flowsHeader.parse(about), rest) };
  } catch (cause) {
    if (cause instanceof QueueError) throw cause;
    throw new QueueError('guardian.message-malformed', 'a frame of flows cannot be read', { cause });
  }
}

/** What is said, unchecked, where the flows need not be readable; undefined where that is not either. */
export function saidIn(frame: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  try {
    return readText(frame).says;
  } catch {
    return undefined;
  }
}

function readText(frame: Uint8Array) {
  const body = bodyOf(frame);
  const end = 4 + body.readUInt32LE(0);
  if (end > body.length) throw malformed('the text is cut off');
  const { flows: about, ...says } = JSON.parse(body.toString('utf8', 4, end)) as Record<string, unknown>;
  return { about, says, rest: body.subarray(end) };
}

function bodyOf(frame: Uint8Array): Buffer {
  const rest = Buffer.from(frame.buffer, frame.byteOffset + 1, Math.max(0, frame.length - 1));
  if (frame[0] === PLAIN) return rest;
  if (frame[0] === DEFLATED) return inflateRawSync(rest, { maxOutputLength: MAX_INFLATED });
  throw malformed(`expected form ${PLAIN} or ${DEFLATED}, got ${frame[0]}`);
}

function readFlows(
  { sourceKind, rows, columns, names }: z.output<typeof flowsHeader>,
  bytes: Buffer,
): FlowBatch {
  const ofIdentity = rows * IDENTITY_WORDS * 4;
  if (bytes.length !== ofIdentity + columns.length * rows * 8) {
    throw malformed(`expected ${rows} rows of ${columns.length} columns, got ${bytes.length} bytes`);
  }
  const batch = new FlowBatch(sourceKind, rows);
  batch.rows = rows;
  bytesOf(batch.identity).set(bytes.subarray(0, ofIdentity));
  batch.numbers.fill(Number.NaN);
  const numbers = bytesOf(batch.numbers);
  columns.forEach((name: FlowNumber, c) => {
    const from = ofIdentity + c * rows * 8;
    numbers.set(bytes.subarray(from, from + rows * 8), FLOW_NUMBER_INDEX[name] * rows * 8);
  });
  for (let row = 0; row < rows; row++) {
    checkIdentity(batch, row);
    checkTimes(batch, row);
  }
  for (const [row, texts] of names) {
    if (row >= rows) throw malformed(`row ${row} has names and is not there`);
    batch.names.set(row, texts);
  }
  return batch;
}

/** Indices into closed lists must lie in them, or a record would hold what its type denies. */
function checkIdentity({ identity }: FlowBatch, row: number): void {
  const kind = identity[row * IDENTITY_WORDS + IDENTITY.kind] as number;
  const outcome = identity[row * IDENTITY_WORDS + IDENTITY.outcome] as number;
  const version = (kind >>> 8) & 255;
  const isSound =
    (version === 4 || version === 6) &&
    kind >>> 16 < TUNNEL_KINDS.length &&
    (outcome & 255) < CONNECTION_STATES.length &&
    ((outcome >>> 8) & 255) < END_REASONS.length;
  if (!isSound) throw malformed(`row ${row} has an identity that no flow has`);
}

/** A finding that nobody can date could not be stored, nor could those beside it. */
function checkTimes(batch: FlowBatch, row: number): void {
  for (const name of ['start_ms', 'end_ms'] as const) {
    if (!(Math.abs(batch.number(row, name)) <= MAX_TIME)) throw malformed(`row ${row} has no ${name}`);
  }
}

function bytesOf({ buffer, byteOffset, byteLength }: Uint32Array | Float64Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function malformed(what: string): QueueError {
  return new QueueError('guardian.message-malformed', what);
}
