import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { LoadResult, Order } from './load.ts';
import { startPinned } from './pinned-process.ts';

/** The generator's process, on a core of its own. */
export interface LoadGenerator {
  run(order: Order): Promise<LoadResult>;
  stop(): Promise<void>;
}

export function startGenerator(core: number): LoadGenerator {
  const main = fileURLToPath(new URL('generator.ts', import.meta.url));
  const { child, stop } = startPinned(core, [process.execPath, main], { stdio: 'ipc' });
  return {
    stop,
    run: async (order) => {
      const answered = once(child, 'message');
      child.send(order);
      const [answer] = (await answered) as [{ readonly result?: LoadResult; readonly error?: string }];
      if (answer.result === undefined) throw new Error(`the generator failed: ${answer.error}`);
      return answer.result;
    },
  };
}

/**
 * The highest rate that passes: doubled from `from` until one fails, then halved between, down to `precision`. One that fails is tried
 * once more: other work on the machine fails it, too.
 */
export async function highestRate(
  from: number,
  precision: number,
  passesOnce: (rate: number) => Promise<boolean>,
): Promise<number> {
  const passes = async (rate: number) => (await passesOnce(rate)) || (await passesOnce(rate));
  let low = 0;
  let high = from;
  while (await passes(high)) {
    low = high;
    high *= 2;
  }
  // Nothing passed yet: down, until something does.
  while (low === 0 && high > 8) {
    const half = high / 2;
    if (await passes(half)) low = half;
    else high = half;
  }
  while (low > 0 && high / low > 1 + precision) {
    const middle = Math.round((low + high) / 2);
    if (await passes(middle)) low = middle;
    else high = middle;
  }
  return low;
}
