import { type AuditEntry, audited } from '../audit/index.ts';
import { faultPoint } from '../base/index.ts';
import {
  KEY_PURPOSES,
  type KeyInfo,
  type KeyPurpose,
  unwrapFromStore,
  type WrapSet,
  wrapForStore,
} from '../crypto/index.ts';
import type { Actor, RegistryContext } from './context.ts';
import { RegistryError } from './errors.ts';
import { REVOKE } from './key-revocations.ts';

export const ROTATE = 'key.rotate';

export interface KeyRotation {
  readonly purpose: KeyPurpose;
  /** The active key now. */
  readonly key: KeyInfo;
  /** Id of the one before; it is retired. */
  readonly previous: string | null;
  /** Data keys that were wrapped anew; no blob was touched. */
  readonly rewrapped: number;
}

export interface RotateOptions {
  /** Make no new key; wrap anew what a rotation that was interrupted left. */
  readonly resume?: boolean;
}

/**
 * Makes a new active key and retires the one before, whose signatures stay good. For `wrapping` every data key gets a
 * wrap by the new key in place of the old one, set by set, each replaced whole: whatever interrupts it, each set opens.
 * Recovery finishes what a crash interrupted, `resume` what an error did. To be called by one caller at a time.
 */
export async function rotateKey(
  context: RegistryContext,
  purpose: KeyPurpose,
  by: Actor,
  options: RotateOptions = {},
): Promise<KeyRotation> {
  const { keys, log } = context;
  const before = (await keys.list()).find((key) => key.purpose === purpose && key.state === 'active');
  const previous = before?.id ?? null;
  const isResumed = options.resume === true;
  const detail = { previous: isResumed ? null : previous, resumed: isResumed };
  const what = { action: ROTATE, principal: by.principal, subject: purpose, detail };
  const rotation = await audited(log, what, async () => {
    const key = isResumed ? await keys.active(purpose) : await keys.generate(purpose);
    faultPoint('registry.rotate.generated');
    return { purpose, key, previous, rewrapped: purpose === 'wrapping' ? await rewrapAll(context) : 0 };
  });
  // Outside of the audited work; after a rotation of the log's key it is the first that the new one signs.
  await log.checkpoint();
  return rotation;
}

/**
 * Ends every use of a key. What it signed before stays good, by the order of the log; what the log gets afterwards, or
 * got at `from` or later where the key is known to have been in other hands since, does not verify. An active key is
 * rotated first, and data keys get other wraps before their wrapping key goes.
 */
export async function revokeKey(
  context: RegistryContext,
  target: { readonly id: string; readonly from?: string },
  by: Actor,
): Promise<KeyInfo> {
  const { keys, log } = context;
  const key = await keys.find(target.id);
  if (key === undefined) throw new RegistryError('registry.key-unknown', 'the key store has no such key');
  if (key.state === 'revoked') {
    throw new RegistryError('registry.key-revoked', `${key.id} is revoked already`);
  }
  if (key.state === 'active') await rotateKey(context, key.purpose, by);
  else if (key.purpose === 'wrapping') await rotateKey(context, 'wrapping', by, { resume: true });
  // A checkpoint by a revoked key is none: the last one has to be by another.
  if (key.purpose === 'log-signing') await log.checkpoint();
  const detail = { purpose: key.purpose, from: target.from ?? null };
  const what = { action: REVOKE, principal: by.principal, subject: key.id, detail };
  const revoked = await audited(log, what, async () => {
    const info = await keys.revoke(key.id);
    faultPoint('registry.revoke.marked');
    return info;
  });
  await log.checkpoint();
  return revoked;
}

/** Finishes a rotation that a crash cut short, where its key was made. */
export async function recoverRotation(
  context: RegistryContext,
  entry: AuditEntry,
): Promise<'done' | 'aborted'> {
  const purpose = KEY_PURPOSES.find((each) => each === entry.subject);
  if (purpose === undefined) return 'aborted';
  const active = (await context.keys.list()).find((key) => key.purpose === purpose && key.state === 'active');
  if (active === undefined || active.id === entry.detail.previous) return 'aborted';
  if (purpose === 'wrapping') await rewrapAll(context);
  return 'done';
}

/** The key store's word counts: its record is written whole or not at all. */
export async function recoverRevocation(
  { keys }: RegistryContext,
  entry: AuditEntry,
): Promise<'done' | 'aborted'> {
  return (await keys.find(entry.subject))?.state === 'revoked' ? 'done' : 'aborted';
}

/** What a key store's audited change had come to, by the store's own record. Uses of a key leave nothing to find. */
export async function recoverKeyChange(
  { keys }: RegistryContext,
  { action, subject, time }: AuditEntry,
): Promise<'done' | 'aborted'> {
  const isDone = (await keys.list()).some(({ id, purpose, state, createdAt }) => {
    if (action === 'key.generate') return purpose === subject && Date.parse(createdAt) >= Date.parse(time);
    return id === subject && (state === 'revoked' || (action === 'key.retire' && state === 'retired'));
  });
  return isDone ? 'done' : 'aborted';
}

/** Gives every data key a wrap by the active key alone, besides those for recovery. Does again what was done to no harm. */
async function rewrapAll(context: RegistryContext): Promise<number> {
  const { keys, db } = context;
  const { id } = await keys.active('wrapping');
  let rewrapped = 0;
  for (const dataKeyId of [...(await db.wraps.list())].sort()) {
    const set = await db.wraps.get(dataKeyId);
    if (set.wraps.every(({ recipient, keyId }) => recipient === 'recovery' || keyId === id)) continue;
    await db.wraps.replace(await rewrap(context, set));
    rewrapped++;
    faultPoint('registry.rotate.rewrapped');
  }
  return rewrapped;
}

/** The new wrap is opened once before it takes the place of the one that works. */
async function rewrap({ keys }: RegistryContext, set: WrapSet): Promise<WrapSet> {
  const dataKey = await unwrapFromStore(keys, set);
  try {
    const { wraps } = await wrapForStore(keys, set.dataKeyId, dataKey);
    const fresh = {
      ...set,
      wraps: [...wraps, ...set.wraps.filter(({ recipient }) => recipient === 'recovery')],
    };
    const again = await unwrapFromStore(keys, fresh);
    const isSame = dataKey.use((a) => again.use((b) => Buffer.compare(a, b) === 0));
    again.wipe();
    if (isSame) return fresh;
    throw new RegistryError(
      'registry.wraps-tampered',
      `a new wrap of ${set.dataKeyId} does not open to its key`,
    );
  } finally {
    dataKey.wipe();
  }
}
