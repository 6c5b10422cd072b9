import { readdirSync, readFileSync } from 'node:fs';
import { availableParallelism, setPriority } from 'node:os';

/** Weight of a tenth beside a thread of no niceness. */
const NICENESS = 10;
const TASKS = '/proc/self/task';

/**
 * Where the process has one core: lets the runtime's own threads, which collect garbage and compile, give way to the one that
 * answers. There are four of them, so that without it a collection takes four fifths of the core from every request for some
 * 50 ms. Elsewhere they have cores of their own, and a collection that waits for a thread without any would stall longer.
 * Gives how many gave way; 0 where threads have no names to know them by.
 */
export function yieldRuntimeThreads(cores = availableParallelism(), tasks = TASKS): number {
  if (cores > 1) return 0;
  let count = 0;
  try {
    for (const id of readdirSync(tasks)) {
      if (!readFileSync(`${tasks}/${id}/comm`, 'utf8').includes('V8Worker')) continue;
      setPriority(Number(id), NICENESS);
      count++;
    }
  } catch {
    // Another system, or one that does not let a process do so: it answers as well, only less evenly.
  }
  return count;
}
