import { audited } from '../audit/index.ts';
import type { Actor, RegistryContext } from './context.ts';
import { HOLD, type Hold, RELEASE } from './custody-index.ts';
import { RegistryError } from './errors.ts';
import { checkReason } from './reason.ts';
import { refuseRemoved } from './tombstone.ts';
import { findPublication } from './version-files.ts';

interface Target {
  readonly name: string;
  readonly version: string;
}

/**
 * Holds a version: it is neither pruned nor erased until the hold is released or has ended. `until` is RFC 3339, in the
 * future. Throws `registry.hold-invalid`, `registry.version-erased` and `registry.version-pruned` where it is too late.
 */
export async function placeHold(
  context: RegistryContext,
  { name, version }: Target,
  hold: { readonly reason: string; readonly until?: string },
  by: Actor,
): Promise<Hold> {
  checkReason(hold.reason);
  await findPublication(context, name, version);
  refuseRemoved(context, name, version);
  const end = hold.until === undefined ? undefined : Date.parse(hold.until);
  if (end !== undefined && !(end > context.clock.now())) {
    throw new RegistryError('registry.hold-invalid', 'expected the end of a hold to lie in the future');
  }
  const until = end === undefined ? null : new Date(end).toISOString();
  const detail = { reason: hold.reason, until };
  const input = { action: HOLD, principal: by.principal, subject: `${name}@${version}`, detail };
  const id = await audited(context.log, input, async (intent) => intent);
  await context.index.catchUp();
  const placed = context.index.custody.holds(name, version).find((each) => each.id === id);
  if (placed === undefined) throw unknownHold(id);
  return placed;
}

/** Releases one hold by its id. Throws `registry.hold-unknown`. */
export async function releaseHold(
  context: RegistryContext,
  { name, version }: Target,
  release: { readonly hold: number; readonly reason: string },
  by: Actor,
): Promise<void> {
  checkReason(release.reason);
  if (!context.index.custody.holds(name, version).some(({ id }) => id === release.hold)) {
    throw unknownHold(release.hold);
  }
  const detail = { hold: release.hold, reason: release.reason };
  const input = { action: RELEASE, principal: by.principal, subject: `${name}@${version}`, detail };
  await audited(context.log, input, async () => {});
}

/** Holds in force now. */
export function activeHolds(context: RegistryContext, name: string, version: string): readonly Hold[] {
  const now = context.clock.now();
  return context.index.custody
    .holds(name, version)
    .filter(({ until }) => until === undefined || Date.parse(until) > now);
}

function unknownHold(id: number): RegistryError {
  return new RegistryError('registry.hold-unknown', `the version has no hold ${id}`);
}
