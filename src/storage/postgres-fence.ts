import type { BlobStore } from './blob-store.ts';
import type { WriterLease } from './postgres-lease.ts';
import type { WrapStore } from './wraps.ts';

type Fence = Pick<WriterLease, 'confirm'>;

/**
 * A blob store that asks whether it may before it changes anything. Blobs are written once, under the name of a version
 * whose publication only the database and the log make true: one that comes late is a leftover, never another model.
 */
export function fencedBlobs(blobs: BlobStore, fence: Fence): BlobStore {
  return fenced(blobs, ['put', 'delete', 'onPromotion'], fence);
}

/** A store of wraps that asks in the same way. */
export function fencedWraps(wraps: WrapStore, fence: Fence): WrapStore {
  return fenced(wraps, ['put', 'replace', 'delete'], fence);
}

function fenced<T extends object>(store: T, changes: readonly (keyof T)[], fence: Fence): T {
  const isChange: ReadonlySet<unknown> = new Set(changes);
  return new Proxy(store, {
    get(target, property) {
      const member: unknown = Reflect.get(target, property, target);
      if (typeof member !== 'function') return member;
      if (!isChange.has(property)) return member.bind(target);
      return async (...given: unknown[]): Promise<unknown> => {
        await fence.confirm();
        return await Reflect.apply(member, target, given);
      };
    },
  });
}
