import type { RegistryContext } from './context.ts';
import { RegistryError } from './errors.ts';

/** Throws `registry.version-erased` or `registry.version-pruned` for a tombstone. */
export function refuseRemoved(context: RegistryContext, name: string, version: string): void {
  const removal = context.index.custody.removal(name, version);
  if (removal === undefined) return;
  const { action, time, intent } = removal;
  throw new RegistryError(
    action === 'erase' ? 'registry.version-erased' : 'registry.version-pruned',
    `${name}@${version} was ${action}d on ${time} (audit entry ${intent}); its key is gone`,
  );
}
