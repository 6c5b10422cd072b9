import { z } from 'zod';
import { audited } from '../audit/index.ts';
import type { Milliseconds } from '../base/index.ts';
import { canonicalJson, parseCanonicalJson, parseWrapSet, type WrapSet } from '../crypto/index.ts';
import type { BlobStore } from '../storage/index.ts';
import type { Actor, RegistryContext } from './context.ts';
import { ESCROW } from './custody-index.ts';
import { RegistryError } from './errors.ts';
import { timeField } from './gate-report.ts';
import { DAY_MS } from './retention-config.ts';

export const ESCROW_EXPIRE = 'registry.escrow-expire';
export const ESCROW_RESTORE = 'registry.escrow-restore';

/** What one run put into escrow. */
export interface EscrowRun {
  readonly escrowed: number;
  /** Every copy of this run is gone by then. */
  readonly until: string;
}

const ENTRY = z.strictObject({
  v: z.literal(1),
  dataKeyId: z.string(),
  escrowedAt: timeField,
  expiresAt: timeField,
  wraps: z.unknown(),
});
const NAME = /^(dk-[0-9a-f]{32})\/(\d{1,15})\.json$/;
/** An audit entry holds 64 KiB; so many ids fit with ease. */
const CHUNK = 500;

interface Copy {
  readonly blob: string;
  readonly dataKeyId: string;
  readonly expires: Milliseconds;
}

/**
 * Copies the wraps of every living version into escrow, for at most the configured days, and drops copies they
 * replace. Run beside each backup: a backup holds sealed weights and never their wraps.
 */
export async function escrowWraps(context: RegistryContext, by: Actor): Promise<EscrowRun> {
  const escrow = escrowStore(context);
  const now = context.clock.now();
  const expires = now + context.retention.escrowDays * DAY_MS;
  const until = new Date(expires).toISOString();
  const removed = new Set(context.index.custody.removals.map(({ dataKeyId }) => dataKeyId));
  const ids = (await context.db.wraps.list()).filter((id) => !removed.has(id)).sort();
  for (let at = 0; at < ids.length; at += CHUNK) {
    const dataKeyIds = ids.slice(at, at + CHUNK);
    const input = {
      action: ESCROW,
      principal: by.principal,
      subject: 'wraps',
      detail: { dataKeyIds, until },
    };
    await audited(context.log, input, async () => {
      for (const dataKeyId of dataKeyIds) {
        const wraps = await context.db.wraps.get(dataKeyId);
        const escrowedAt = new Date(now).toISOString();
        const entry = { v: 1, dataKeyId, escrowedAt, expiresAt: until, wraps };
        const name = `${dataKeyId}/${expires}.json`;
        if (!(await escrow.has(name))) await escrow.put(name, Buffer.from(canonicalJson(entry)));
        for (const older of await copiesOf(escrow, dataKeyId)) {
          if (older.expires < expires) await escrow.delete(older.blob);
        }
      }
    });
  }
  return { escrowed: ids.length, until };
}

/** Deletes what has expired; the deletion stands in the log. Returns how many copies went. */
export async function sweepEscrow(context: RegistryContext, by: Actor): Promise<number> {
  if (context.escrow === undefined) return 0;
  const { escrow } = context;
  const now = context.clock.now();
  const expired = (await copiesOf(escrow, '')).filter(({ expires }) => expires <= now);
  if (expired.length === 0) return 0;
  for (let at = 0; at < expired.length; at += CHUNK) {
    const chunk = expired.slice(at, at + CHUNK);
    const detail = { dataKeyIds: chunk.map(({ dataKeyId }) => dataKeyId) };
    const input = { action: ESCROW_EXPIRE, principal: by.principal, subject: 'wraps', detail };
    await audited(context.log, input, async () => {
      for (const { blob } of chunk) await escrow.delete(blob);
    });
  }
  return expired.length;
}

/**
 * Puts wraps that the wrap store lost back from escrow, but never those of a removed version. For a restored backup.
 * Returns the ids of the data keys that came back.
 */
export async function restoreWraps(context: RegistryContext, by: Actor): Promise<readonly string[]> {
  const escrow = escrowStore(context);
  const now = context.clock.now();
  const removed = new Set(context.index.custody.removals.map(({ dataKeyId }) => dataKeyId));
  const wanted = new Set<string>();
  for (const { dataKeyId } of await context.db.versions.list()) {
    if (!removed.has(dataKeyId) && !(await context.db.wraps.has(dataKeyId))) wanted.add(dataKeyId);
  }
  const newest = new Map<string, Copy>();
  for (const copy of await copiesOf(escrow, '')) {
    if (wanted.has(copy.dataKeyId) && copy.expires > now) newest.set(copy.dataKeyId, copy);
  }
  for (const { dataKeyId, blob } of newest.values()) {
    const input = { action: ESCROW_RESTORE, principal: by.principal, subject: dataKeyId, detail: {} };
    await audited(context.log, input, async () =>
      context.db.wraps.put(readEntry(await escrow.get(blob), dataKeyId)),
    );
  }
  return [...newest.keys()];
}

/** How many copies of a data key's wraps lie in escrow, expired ones included. */
export async function countCopies(context: RegistryContext, dataKeyId: string): Promise<number> {
  return context.escrow === undefined ? 0 : (await copiesOf(context.escrow, dataKeyId)).length;
}

/** By key and time of expiry. A file of another name is no copy of ours and is left alone. */
async function copiesOf(escrow: BlobStore, prefix: string): Promise<readonly Copy[]> {
  return (await escrow.list(prefix)).flatMap((blob) => {
    const match = NAME.exec(blob);
    return match === null ? [] : [{ blob, dataKeyId: String(match[1]), expires: Number(match[2]) }];
  });
}

function readEntry(bytes: Uint8Array, dataKeyId: string): WrapSet {
  try {
    const entry = ENTRY.parse(parseCanonicalJson(new TextDecoder('utf-8', { fatal: true }).decode(bytes)));
    const wraps = parseWrapSet(canonicalJson(entry.wraps));
    if (entry.dataKeyId === dataKeyId && wraps.dataKeyId === dataKeyId) return wraps;
  } catch (cause) {
    throw new RegistryError('registry.escrow-malformed', `the escrow of ${dataKeyId} does not parse`, {
      cause,
    });
  }
  throw new RegistryError('registry.escrow-malformed', `the escrow of ${dataKeyId} names another data key`);
}

function escrowStore(context: RegistryContext): BlobStore {
  if (context.escrow !== undefined) return context.escrow;
  throw new RegistryError('registry.escrow-absent', 'this registry was opened without an escrow');
}
