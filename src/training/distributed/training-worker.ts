import type { z } from 'zod';
import type { Milliseconds } from '../../base/index.ts';
import type { Bus } from '../../bus/index.ts';
import { open, SecretBuffer, sha256 } from '../../crypto/index.ts';
import { TrainingError } from '../errors.ts';
import { addVector } from './answer.ts';
import { bytesOf, decodeMessage, encodeMessage, refused } from './message.ts';
import { NetworkShard } from './network-shard.ts';
import { isQuestion } from './operation.ts';
import { RowShard } from './row-shard.ts';
import { planBinning } from './run-plan.ts';
import { decodeShard } from './shard-rows.ts';
import {
  type Grant,
  shardContext,
  type WorkOrder,
  type WorkPlan,
  type workAnswerSchema,
  workOrderSchema,
} from './work-order.ts';
import { encodeBeat, ROLL, WORKER_ID, workerSubject } from './worker-roll.ts';

/** Runs that a worker takes part in at once. */
const MAX_RUNS = 4;
/** A run that nobody asked about for this long is let go. */
const IDLE_MS: Milliseconds = 600_000;

interface Leased {
  token: number;
  readonly digest: string;
  readonly shard: RowShard | NetworkShard;
}

interface Session {
  epoch: number;
  plan: WorkPlan | undefined;
  readonly leased: Map<number, Leased>;
  timer: NodeJS.Timeout | undefined;
}

/** Gets the sealed rows of a shard. */
export type FetchRows = (object: string) => Promise<Uint8Array>;

/**
 * Does what coordinators order: holds the shards that are leased to it, sums over them, forgets them at the end. Rows come
 * as sealed objects named by digest, and stay in memory; nothing that an order says reaches the file system. Orders
 * of a coordinator or a lease that another one has followed are refused with `training.lease-lost`.
 */
export class TrainingWorker {
  readonly #fetch: FetchRows;
  readonly #threads: number;
  readonly #sessions = new Map<string, Session>();
  #working: Promise<unknown> = Promise.resolve();

  constructor(fetchRows: FetchRows, threads = 1) {
    this.#fetch = fetchRows;
    this.#threads = threads;
  }

  /** Answers an order. One at a time: shards are not for concurrent use. */
  handle(request: Uint8Array): Promise<Uint8Array> {
    const answer = this.#working.then(() => this.#obey(decodeMessage(request, workOrderSchema).head));
    this.#working = answer.catch(() => {});
    return answer;
  }

  async close(): Promise<void> {
    await this.#working;
    await Promise.all([...this.#sessions.keys()].map((run) => this.#end(run)));
  }

  async #obey(order: WorkOrder): Promise<Uint8Array> {
    const session = this.#enter(order);
    if (order.end) await this.#end(order.run);
    for (const shard of order.drop) {
      await session.leased.get(shard)?.shard.close();
      session.leased.delete(shard);
    }
    let sum: Int32Array | undefined;
    for (const grant of order.grants) {
      const vector = await this.#work(order, session, grant);
      if (vector === undefined) continue;
      if (sum === undefined) sum = vector;
      else if (sum.length === vector.length) addVector(sum, vector);
      else throw refused('the grants of an order ask for different things');
    }
    const head: z.output<typeof workAnswerSchema> = {
      ...{ v: 1, epoch: order.epoch },
      tokens: order.grants.map(({ shard, token }) => [shard, token]),
    };
    return encodeMessage(head, sum && bytesOf(sum));
  }

  #enter({ run, epoch, plan }: WorkOrder): Session {
    let session = this.#sessions.get(run);
    if (session === undefined) {
      if (this.#sessions.size >= MAX_RUNS) throw refused(`takes part in ${MAX_RUNS} runs already`);
      session = { epoch, plan: undefined, leased: new Map(), timer: undefined };
      this.#sessions.set(run, session);
    }
    if (epoch < session.epoch) throw leaseLost(`coordinator ${epoch} was followed by ${session.epoch}`);
    session.epoch = epoch;
    if (plan !== undefined) session.plan = plan;
    clearTimeout(session.timer);
    session.timer = setTimeout(() => void this.#end(run), IDLE_MS).unref();
    return session;
  }

  async #work(order: WorkOrder, session: Session, grant: Grant): Promise<Int32Array | undefined> {
    const { shard, token, rows } = grant;
    let leased = session.leased.get(shard);
    if (leased !== undefined && token < leased.token) {
      throw leaseLost(`lease ${token} of shard ${shard} was followed by ${leased.token}`);
    }
    if (rows !== undefined) {
      if (leased === undefined || leased.digest !== rows.digest) {
        await leased?.shard.close();
        leased = { token, digest: rows.digest, shard: await this.#open(order, session, shard, rows) };
        session.leased.set(shard, leased);
      }
      leased.token = token;
      leased.shard.restore(order.trees ?? []);
    }
    if (leased === undefined || leased.token !== token) throw leaseLost(`shard ${shard} is not held`);
    let answer: Int32Array | undefined;
    for (const operation of grant.operations) {
      if (isQuestion(operation)) answer = await leased.shard.ask(operation);
      else await leased.shard.tell(operation);
    }
    return answer;
  }

  async #open(
    { run }: WorkOrder,
    { plan }: Session,
    shard: number,
    { object, digest, key }: NonNullable<Grant['rows']>,
  ): Promise<RowShard | NetworkShard> {
    if (plan === undefined) throw refused('a lease begins without a plan');
    const dataKey = SecretBuffer.from(Buffer.from(key, 'base64'));
    try {
      const plain = open(await this.#fetch(object), dataKey, shardContext(run, shard, digest));
      if (sha256(plain) !== digest) throw refused(`the rows of shard ${shard} are not those of their digest`);
      const made =
        'kind' in plan
          ? new NetworkShard(plan, plain)
          : new RowShard(plan, decodeShard(plain, planBinning(plan)), this.#threads);
      plain.fill(0);
      return made;
    } finally {
      dataKey.wipe();
    }
  }

  async #end(run: string): Promise<void> {
    const session = this.#sessions.get(run);
    this.#sessions.delete(run);
    clearTimeout(session?.timer);
    for (const { shard } of session?.leased.values() ?? []) await shard.close();
    session?.leased.clear();
  }
}

export interface ServeWorkerOptions {
  /** Names the worker on the bus. */
  readonly id: string;
  /** Time between two heartbeats. */
  readonly beatMs: Milliseconds;
}

export const SERVE_WORKER_DEFAULTS = { beatMs: 2_000 } as const;

/** Answers on the bus and shows to be alive, until the returned function is called. */
export async function serveWorker(
  bus: Bus,
  handle: (request: Uint8Array) => Promise<Uint8Array>,
  options: Pick<ServeWorkerOptions, 'id'> & Partial<ServeWorkerOptions>,
): Promise<() => Promise<void>> {
  const { id, beatMs } = { ...SERVE_WORKER_DEFAULTS, ...options };
  if (!WORKER_ID.test(id)) throw refused(`expected a worker id of a-z, 0-9 and -, got ${JSON.stringify(id)}`);
  const stop = await bus.respond(workerSubject(id), handle);
  let count = 1;
  const beat = async () => {
    await bus.put(`${ROLL}.${id}`, encodeBeat(id, count++)).catch(() => {}); // Silence is what says it.
  };
  await beat();
  const timer = setInterval(() => void beat(), beatMs).unref();
  return async () => {
    clearInterval(timer);
    await stop();
    await bus.put(`${ROLL}.${id}`, encodeBeat(id, 0)).catch(() => {});
  };
}

function leaseLost(message: string): TrainingError {
  return new TrainingError('training.lease-lost', message);
}
