import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** By so much of what lives the heap may grow until it is collected, per cent. V8's own measure is up to three times what lives. */
const HEAP_GROWTH = 60;

type Collect = (options: { readonly [name in 'type' | 'execution' | 'flavor']: string }) => void;

/**
 * Gives back what starting up has left: some 50 MB, half the heap, which would otherwise stay, and would be looked through in
 * the middle of the first requests. The collector's handle is got in a context of its own, so no other code has it.
 */
export function collectStartupGarbage(): void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as Collect | undefined;
  setFlagsFromString('--no-expose-gc');
  // Any other flavour keeps the pages.
  collect?.({ type: 'major', execution: 'sync', flavor: 'last-resort' });
}

/** Bounds resident memory by what is in use and not by what the machine has. Costs collections, some tens of milliseconds each. */
export function boundHeapGrowth(): void {
  setFlagsFromString(`--heap-growing-percent=${HEAP_GROWTH}`);
}
