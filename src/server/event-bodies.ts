import { FlowBatch, type FlowRecord, isSensorLog, openFlowSource } from '../traffic/index.ts';
import { ServerError } from './errors.ts';
import { parsePart } from './handler.ts';
import { SERVER_LIMITS } from './limits.ts';
import { flowSchema } from './requests.ts';

/** What a body of events holds. */
export interface SentFlows {
  readonly flows: FlowBatch;
  /** Lines of a sensor's log that are no flow, by code; absent for flows in our own form, where one fault refuses all. */
  readonly unread?: Readonly<Record<string, number>>;
}

type EventsBody = string | readonly unknown[] | { readonly flows: readonly unknown[] };

/** Where the kind of a text shows. */
const HEAD = 4096;

/** Throws `server.too-many-rows`. */
export function checkRows(rows: number): void {
  if (rows > SERVER_LIMITS.rows) {
    throw new ServerError('server.too-many-rows', `expected at most ${SERVER_LIMITS.rows} rows, got ${rows}`);
  }
}

/**
 * Flows of one source kind, from JSON, from text with one a line, or from the lines of a Zeek or EVE log, told by how it
 * begins. Throws `server.body-malformed`, `server.request-invalid`, `server.too-many-rows`, `traffic.missing-column`.
 */
export async function readEvents(body: EventsBody): Promise<SentFlows> {
  if (typeof body === 'string' && isSensorLog(body.slice(0, HEAD))) return await readLog(body);
  const values = typeof body === 'string' ? readLines(body) : 'flows' in body ? body.flows : body;
  checkRows(values.length);
  return {
    flows: oneKind(values.map((value, i) => parsePart(flowSchema, `body.${i}`, value) as FlowRecord)),
  };
}

async function readLog(text: string): Promise<SentFlows> {
  const source = await openFlowSource('the body', { bytes: chunkOf(text) });
  const flows: FlowRecord[] = [];
  for await (const batch of source.batches()) {
    flows.push(...batch.records());
    checkRows(flows.length);
  }
  return { flows: oneKind(flows), unread: { ...source.counters.ignored, ...source.counters.malformed } };
}

async function* chunkOf(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}

function oneKind(flows: readonly FlowRecord[]): FlowBatch {
  const kind = flows[0]?.sourceKind ?? 'packets';
  if (flows.some(({ sourceKind }) => sourceKind !== kind)) {
    throw new ServerError('server.request-invalid', 'body: expected flows of one source kind in a request');
  }
  return FlowBatch.from(flows, kind);
}

function readLines(text: string): readonly unknown[] {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  checkRows(lines.length);
  return lines.map((line, i) => {
    try {
      return JSON.parse(line) as unknown;
    } catch {
      throw new ServerError('server.body-malformed', `line ${i + 1} of the body is not JSON`);
    }
  });
}
