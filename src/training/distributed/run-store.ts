import { z } from 'zod';
import type { Digest } from '../../base/index.ts';
import type { Bus } from '../../bus/index.ts';
import { sha256 } from '../../crypto/index.ts';
import type { GrownSoFar } from '../boosting.ts';
import { TrainingError } from '../errors.ts';
import type { GrownTree } from '../grow-tree.ts';
import { decodeMessage, encodeMessage, refused } from './message.ts';
import { packSides, sidesSchema, unpackSides } from './wire-tree.ts';

const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/) as z.ZodType<Digest>;

const pointerSchema = z.strictObject({
  v: z.literal(1),
  plan: digest,
  object: z.string().max(128),
  digest,
});

const numbers = z.array(z.number());
const splitSchema = z.strictObject({
  gain: z.number(),
  feature: z.int().min(0),
  left: sidesSchema,
  lastLeft: z.int().min(0).max(255),
  middle: z.number().optional(),
});
const grownSchema = z.strictObject({
  trees: z.array(
    z.strictObject({
      child: numbers,
      split: z.array(splitSchema.nullable()),
      value: numbers,
      cover: numbers,
    }),
  ),
  validationLoss: numbers,
  /** What the one who sums keeps. */
  extra: z.unknown(),
});

/**
 * What a run of training leaves on the bus after each round, so that a coordinator that died is followed by another: the
 * trees, as an object, and a value that points at it. Its revision decides between two coordinators.
 */
export class RunStore {
  readonly #bus: Bus;
  readonly #run: string;
  /** Of everything a successor has to agree on. */
  readonly #plan: Digest;
  #revision = 0;
  #object: string | undefined;
  #saved = 0;

  constructor(bus: Bus, run: string, plan: Digest) {
    this.#bus = bus;
    this.#run = run;
    this.#plan = plan;
  }

  /** What another coordinator left; undefined where the run begins. Throws `training.message-refused` for a run of another plan. */
  async load(): Promise<(GrownSoFar & { readonly extra: unknown }) | undefined> {
    const value = await this.#bus.get(this.#key());
    this.#revision = value?.revision ?? 0;
    if (value === undefined || value.data.length === 0) return undefined;
    const { head } = decodeMessage(value.data, pointerSchema);
    if (head.plan !== this.#plan) throw refused(`run ${this.#run} is another one: data or settings differ`);
    this.#object = head.object;
    const bytes = await this.#bus.getObject(head.object);
    if (sha256(bytes) !== head.digest)
      throw refused(`the trees of run ${this.#run} are not those of their digest`);
    const { trees, validationLoss, extra } = decodeMessage(bytes, grownSchema).head;
    return { trees: trees.map(thaw), validationLoss, extra };
  }

  /** Throws `training.lease-lost` where another coordinator has written meanwhile; nothing of ours counts then. */
  async save(epoch: number, { trees, validationLoss }: GrownSoFar, extra: unknown): Promise<void> {
    const bytes = encodeMessage({ trees: trees.map(freeze), validationLoss, extra });
    const object = `train.${this.#run}.e${epoch}.trees-${this.#saved++}`;
    await this.#bus.putObject(object, bytes);
    const pointer = encodeMessage({ v: 1, plan: this.#plan, object, digest: sha256(bytes) });
    const revision = await this.#bus.put(this.#key(), pointer, this.#revision);
    if (revision === undefined) {
      await this.#bus.deleteObject(object).catch(() => {});
      throw new TrainingError('training.lease-lost', `another coordinator has taken run ${this.#run}`);
    }
    this.#revision = revision;
    if (this.#object !== undefined) await this.#bus.deleteObject(this.#object).catch(() => {});
    this.#object = object;
  }

  async clear(): Promise<void> {
    if (this.#object !== undefined) await this.#bus.deleteObject(this.#object).catch(() => {});
    await this.#bus.put(this.#key(), new Uint8Array(0), this.#revision);
  }

  #key(): string {
    return `train.${this.#run}.state`;
  }
}

function freeze({ child, split, value, cover }: GrownTree): z.output<typeof grownSchema>['trees'][number] {
  return {
    ...{ child, value, cover },
    split: split.map((s) => (s === undefined ? null : { ...s, left: packSides(s.left) })),
  };
}

function thaw({ child, split, value, cover }: z.output<typeof grownSchema>['trees'][number]): GrownTree {
  return {
    ...{ child, value, cover },
    split: split.map((s) => {
      if (s === null) return undefined;
      const { middle, ...rest } = s;
      return { ...rest, left: unpackSides(s.left), ...(middle !== undefined && { middle }) };
    }),
  };
}
