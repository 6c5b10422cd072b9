import { z } from 'zod';
import type { Binning, LabelledBins } from '../binning.ts';
import { decodeMessage, encodeMessage, refused } from './message.ts';

/** The rows of one shard: neighbours in the training part, and in the part that early stopping watches. */
export interface ShardRows {
  readonly training: LabelledBins;
  readonly held: LabelledBins;
  /** Number of the first row to train on among those of all shards. */
  readonly firstRow: number;
}

const count = z.int().min(0).max(0xffffffff);

const headSchema = z.strictObject({
  firstRow: count,
  rows: count,
  heldRows: count,
  weights: z.boolean(),
  heldWeights: z.boolean(),
});

/** Where shard `shard` of `shards` begins among `rows` rows. */
export function shardStart(rows: number, shard: number, shards: number): number {
  return Math.floor((rows * shard) / shards);
}

/** Cuts a shard out; arrays of one column after the other are copied. */
export function cutShard(
  training: LabelledBins,
  held: LabelledBins | undefined,
  shard: number,
  shards: number,
): ShardRows {
  const cut = ({ binned, labels, weights }: LabelledBins): LabelledBins & { readonly from: number } => {
    const [from, to] = [shardStart(binned.rows, shard, shards), shardStart(binned.rows, shard + 1, shards)];
    const rows = to - from;
    const columns = binned.binning.columns.length;
    const bins = new Uint8Array(rows * columns);
    for (let f = 0; f < columns; f++) {
      bins.set(binned.bins.subarray(f * binned.rows + from, f * binned.rows + to), f * rows);
    }
    return {
      binned: { rows, binning: binned.binning, bins },
      labels: labels.slice(from, to),
      weights: weights?.slice(from, to),
      from,
    };
  };
  const part = cut(training);
  return {
    training: part,
    held: held === undefined ? noRows(training.binned.binning) : cut(held),
    firstRow: part.from,
  };
}

export function noRows(binning: Binning): LabelledBins {
  return { binned: { rows: 0, binning, bins: new Uint8Array(0) }, labels: new Uint8Array(0) };
}

/** Bins, labels and weights of the training rows, then of those held out, each padded to a multiple of 4. */
export function encodeShard({ training, held, firstRow }: ShardRows): Uint8Array {
  const parts = [training, held].flatMap(({ binned, labels, weights }) =>
    [binned.bins, labels, weights].filter((part) => part !== undefined),
  );
  const body = new Uint8Array(parts.reduce((sum, part) => sum + padded(part.byteLength), 0));
  let at = 0;
  for (const part of parts) {
    body.set(new Uint8Array(part.buffer, part.byteOffset, part.byteLength), at);
    at += padded(part.byteLength);
  }
  const head: z.output<typeof headSchema> = {
    firstRow,
    rows: training.binned.rows,
    heldRows: held.binned.rows,
    weights: training.weights !== undefined,
    heldWeights: held.weights !== undefined,
  };
  return encodeMessage(head, body);
}

/** Throws `training.message-refused`. Labels and bins are checked by the one who opens the shard. */
export function decodeShard(bytes: Uint8Array, binning: Binning): ShardRows {
  const { head, body } = decodeMessage(bytes, headSchema);
  const columns = binning.columns.length;
  let at = 0;
  const take = (length: number): Uint8Array<ArrayBuffer> => {
    if (at + length > body.length) throw refused('a shard is shorter than it says');
    const part = body.subarray(at, at + length);
    at += padded(length);
    return part;
  };
  const read = (rows: number, hasWeights: boolean): LabelledBins => {
    const bins = take(rows * columns);
    const labels = take(rows);
    const weights = hasWeights ? take(rows * 4) : undefined;
    return {
      binned: { rows, binning, bins },
      labels,
      weights: weights && new Float32Array(weights.buffer, weights.byteOffset, rows),
    };
  };
  const training = read(head.rows, head.weights);
  return { training, held: read(head.heldRows, head.heldWeights), firstRow: head.firstRow };
}

function padded(length: number): number {
  return (length + 3) & ~3;
}
