import { GuardianClientError } from './errors.ts';
import { serverSentEvents } from './server-sent-events.ts';

/** A finding as it stands; more fields than are named here come with it. */
export interface ClientDetection {
  readonly uid: string;
  readonly activity: 'create' | 'update' | 'close';
  /** Grows with each state of the same finding. */
  readonly revision: number;
  /** When it was raised, milliseconds since 1970. */
  readonly time: number;
  readonly kind: string;
  readonly severity: string;
  readonly source: { readonly address: string; readonly [name: string]: unknown };
  readonly destination: { readonly address: string; readonly [name: string]: unknown };
  readonly flows: number;
  readonly decision: { readonly verdict: string; readonly [name: string]: unknown };
  readonly [name: string]: unknown;
}

export interface WatchParts {
  /** Opens the stream, from behind the event of this id where there is one; rejects as a call does. */
  readonly open: (lastId: string | undefined) => Promise<Response>;
  /** Findings raised at this time or later, newest first. */
  readonly list: (since: number) => Promise<readonly ClientDetection[]>;
  readonly wait: (ms: number) => Promise<void>;
  readonly signal: AbortSignal | undefined;
}

/** Between two attempts to open a stream that broke: doubled from the first to the last. Milliseconds. */
const FIRST_WAIT_MS = 250;
const LAST_WAIT_MS = 30_000;
/** Findings whose last state is kept; the oldest is forgotten for a new one. */
const KNOWN = 10_000;

/** New states of detections, over as many streams as it takes; see `GuardianClient.watchDetections`. */
export async function* watchDetections(parts: WatchParts): AsyncGenerator<ClientDetection, void, undefined> {
  const told = new ToldStates();
  let waitMs = FIRST_WAIT_MS;
  let isFirst = true;
  let lastId: string | undefined;
  for (;;) {
    try {
      const response = await parts.open(lastId);
      // The list is asked once the stream is open, so that nothing falls between them.
      if (isFirst) told.begin(Date.parse(response.headers.get('date') ?? ''));
      else if (response.headers.get('guardian-stream') !== 'resumed')
        yield* told.newOnes(await missed(parts, told));
      isFirst = false;
      waitMs = FIRST_WAIT_MS;
      for await (const { event, data, id } of serverSentEvents(response.body as ReadableStream<Uint8Array>)) {
        lastId = id || undefined;
        if (event === 'detection') yield* told.newOnes([JSON.parse(data) as ClientDetection]);
        // This reader was too slow for the server's buffer.
        else if (event === 'dropped') yield* told.newOnes(await missed(parts, told));
      }
    } catch (error) {
      if (parts.signal?.aborted) return;
      // A first stream that cannot be opened, and a right that ended, are told.
      const mayPass = error instanceof GuardianClientError ? error.retry : error instanceof TypeError;
      if (isFirst || !mayPass) throw error;
    }
    if (parts.signal?.aborted) return;
    try {
      await parts.wait(waitMs);
    } catch {
      return;
    }
    waitMs = Math.min(waitMs * 2, LAST_WAIT_MS);
  }
}

async function missed({ list }: WatchParts, told: ToldStates): Promise<readonly ClientDetection[]> {
  return (await list(told.since)).toReversed();
}

/** Which state of each finding was told last. */
class ToldStates {
  readonly #known = new Map<string, ClientDetection>();
  #lastTime = 0;

  /** Nothing raised before the stream was opened is told, but for what goes on. */
  begin(time: number): void {
    this.#lastTime = Number.isNaN(time) ? 0 : time;
  }

  /** From when on findings may have states that were not told: the oldest that is open, or the newest. */
  get since(): number {
    let oldest = this.#lastTime;
    for (const { activity, time } of this.#known.values()) {
      if (activity !== 'close' && time < oldest) oldest = time;
    }
    return oldest;
  }

  *newOnes(found: readonly ClientDetection[]): Generator<ClientDetection> {
    for (const each of found) {
      if (each.revision <= (this.#known.get(each.uid)?.revision ?? 0)) continue;
      if (!this.#known.has(each.uid) && this.#known.size >= KNOWN) {
        this.#known.delete(this.#known.keys().next().value as string);
      }
      this.#known.set(each.uid, each);
      this.#lastTime = Math.max(this.#lastTime, each.time);
      yield each;
    }
  }
}
