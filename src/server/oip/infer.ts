import type { LoadedSchema } from '../../features/index.ts';
import type { LoadedModel, ScoreColumns } from '../../inference/index.ts';
import { ServerError } from '../errors.ts';
import { unknownModel } from '../handle-events.ts';
import type { ServedGuardian } from '../handler.ts';
import type { InferCall } from './infer-request.ts';
import { statisticsOf } from './statistics.ts';

/** A model in place with the schema of its input. */
export interface AskedModel {
  readonly model: LoadedModel;
  readonly loaded: LoadedSchema;
}

/** What holds values that a request brought. */
export interface Wipeable {
  fill(value: 0): unknown;
}

/** Of whoever waits for the answer. */
export interface Waiting {
  readonly signal?: AbortSignal;
  /** Address it comes from: what a canary sticks to. */
  readonly source?: string;
}

/** The model in place, where it has this version. Throws `server.model-unknown`. */
export function findModel(guardian: ServedGuardian, name: string, version?: string): AskedModel {
  const model = guardian.engine.current(name);
  const loaded = guardian.schemaOf(name);
  if (model === undefined || loaded === undefined || (version !== undefined && model.version !== version)) {
    throw unknownModel(name, version);
  }
  return { model, loaded };
}

/** Throws `server.not-ready` where the configured model is not loaded. */
export function checkReady(guardian: ServedGuardian): void {
  if (guardian.engine.current(guardian.modelName) !== undefined) return;
  throw new ServerError('server.not-ready', `the model ${guardian.modelName} is not loaded yet`);
}

/**
 * One request from its bytes to its answer, for REST and gRPC alike: `read` gives the checked rows, `write` the answer.
 * Its bytes and rows are wiped once they are scored, refused or given up: whatever still scores them has a copy of its own.
 * Every request to a model that is in place counts in its statistics. Throws what `read` and the engine throw.
 */
export async function infer<A, C extends InferCall>(
  guardian: ServedGuardian,
  { model, loaded }: AskedModel,
  parts: {
    readonly read: (loaded: LoadedSchema) => C;
    readonly write: (columns: ScoreColumns, call: C) => A;
    readonly waiting: Waiting;
    /** What the request came in: bytes or lists of numbers, of no use to anybody else. */
    readonly received?: readonly Wipeable[] | undefined;
  },
): Promise<A> {
  const { clock } = guardian;
  const started = clock.monotonic();
  let call: C | undefined;
  try {
    call = parts.read(loaded);
    const read = clock.monotonic();
    const columns = await guardian.scoreVectorColumns(model.name, call.values, call.rows, {
      ...call.terms,
      ...parts.waiting,
    });
    const scored = clock.monotonic();
    const answer = parts.write(columns, call);
    const queue = Math.min(columns.waitedMs, scored - read);
    const infer = scored - read - queue;
    const times = { input: read - started, queue, infer, output: clock.monotonic() - scored };
    // A swap between the check and the call shows in the answer: it counts for the model that scored.
    statisticsOf(guardian).succeeded(columns.model, call.rows, times, clock.now());
    return answer;
  } catch (error) {
    statisticsOf(guardian).failed(model, clock.monotonic() - started);
    throw error;
  } finally {
    call?.values.fill(0);
    for (const each of parts.received ?? []) each.fill(0);
  }
}
