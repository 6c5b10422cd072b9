import { z } from 'zod';
import { PointShard } from '../hybrid/gradient-source.ts';
import { MAX_BATCH, parameterCount } from '../hybrid/network-gradients.ts';
import { bytesOf, decodeMessage, encodeMessage, refused } from './message.ts';
import type { Operation, Question } from './operation.ts';

/** Parameters of a network that is trained on workers at most: they travel with each batch. */
const MAX_PARAMETERS = 2 ** 22;

const count = z.int().min(0).max(0xffffffff);

export const networkPlanSchema = z.strictObject({
  v: z.literal(1),
  kind: z.literal('network'),
  run: z.string().regex(/^[a-z0-9][a-z0-9-]{0,47}$/),
  /** From input to output, which are one width: it learns to give what it is given. */
  widths: z.array(z.int().min(1).max(65_536)).min(2).max(10),
  /** Points of all shards. */
  rows: z
    .int()
    .min(0)
    .max(2 ** 20),
  batch: z.int().min(1).max(MAX_BATCH),
  seed: count,
});

/** What everyone who holds points of a network's training has to know. Made by the coordinator; workers check it. */
export type NetworkPlan = Readonly<z.output<typeof networkPlanSchema>>;

const headSchema = z.strictObject({ firstRow: count, rows: count });

/** Float32Array, row-major rows x width, from row `firstRow` on, as a worker gets it. */
export function encodePoints(points: Float32Array, firstRow: number, width: number): Uint8Array {
  return encodeMessage({ firstRow, rows: points.length / width }, bytesOf(points));
}

/**
 * Points of a network's training in the hands of one who was asked to sum over them. What is asked comes over the wire:
 * anything out of range is refused with `training.message-refused`. What one row adds to a sum is bounded by the kernel.
 */
export class NetworkShard {
  readonly #plan: NetworkPlan;
  readonly #shard: PointShard;

  /** `bytes`: as `encodePoints` writes them. */
  constructor(plan: NetworkPlan, bytes: Uint8Array) {
    const { head, body } = decodeMessage(bytes, headSchema);
    const { widths, rows } = plan;
    const width = widths[0] as number;
    if (parameterCount(widths) > MAX_PARAMETERS || widths.at(-1) !== width) {
      throw refused(`a network of widths ${widths.join(', ')} is not trained here`);
    }
    if (body.length !== head.rows * width * 4 || head.firstRow + head.rows > rows) {
      throw refused('a shard of points is not as long as it says');
    }
    const points = new Float32Array(body.buffer, body.byteOffset, head.rows * width);
    if (!points.every(Number.isFinite)) throw refused('a point holds a number that is not finite');
    this.#plan = plan;
    this.#shard = new PointShard(points, plan, head.firstRow);
  }

  /** Nothing stays from batch to batch. */
  restore(): void {}

  async tell({ kind }: Operation): Promise<void> {
    throw refused(`a network has no use for ${kind}`);
  }

  async ask(question: Question): Promise<Int32Array> {
    if (question.kind !== 'gradients') throw refused(`a network is not asked for ${question.kind}`);
    const { widths, rows, batch } = this.#plan;
    if (question.batch * batch >= rows) throw refused(`there is no batch ${question.batch}`);
    return this.#shard.sum(unpackParameters(question.parameters, parameterCount(widths)), question);
  }

  async close(): Promise<void> {}
}

export function packParameters(parameters: Float32Array): string {
  return Buffer.from(parameters.buffer, parameters.byteOffset, parameters.byteLength).toString('base64');
}

function unpackParameters(text: string, length: number): Float32Array {
  const bytes = new Uint8Array(Buffer.from(text, 'base64'));
  if (bytes.length !== length * 4) throw refused(`expected ${length} parameters, got ${bytes.length} bytes`);
  return new Float32Array(bytes.buffer);
}
