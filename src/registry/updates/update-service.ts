import type { Actor } from '../context.ts';
import {
  type PublishedUpdates,
  type PublishUpdatesOptions,
  publishUpdates,
  type UpdateParts,
} from './publish-updates.ts';
import { type PulledUpdates, type PullUpdatesOptions, pullUpdates } from './pull-updates.ts';

/** Models for and from other sites by TUF. One publication or pull at a time, in the order of the calls. */
export class UpdateService {
  readonly #parts: UpdateParts;
  #last: Promise<unknown> = Promise.resolve();

  constructor(parts: UpdateParts) {
    this.#parts = parts;
  }

  /** See `publishUpdates`. */
  publish(options: PublishUpdatesOptions, by: Actor): Promise<PublishedUpdates> {
    return this.#exclusive(() => publishUpdates(this.#parts, options, by));
  }

  /** See `pullUpdates`. */
  pull(options: PullUpdatesOptions, by: Actor): Promise<PulledUpdates> {
    return this.#exclusive(() => pullUpdates(this.#parts, options, by));
  }

  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work, work);
    this.#last = result.catch(() => undefined);
    return result;
  }
}
