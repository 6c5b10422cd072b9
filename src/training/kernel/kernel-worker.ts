import { workerData } from 'node:worker_threads';
import { instantiateKernel, loadKernel } from '../../base/index.ts';
import { CONTROL, CONTROL_BYTES, type KernelWorkerData, SPINS, takeTasks } from './kernel-threads.ts';
import type { ThreadScratch, TrainingKernel } from './training-kernel.ts';

// A worker of `KernelThreads`: waits for a phase, takes tasks, until it is told to stop.
const { options, thread } = workerData as KernelWorkerData;
const { buffer } = options.memory;
const control = new Int32Array(buffer, options.control, CONTROL_BYTES / 4);
const views = { words: new Int32Array(buffer), floats: new Float64Array(buffer) };
const kernel = instantiateKernel<TrainingKernel>(loadKernel('boost'), options.memory);
const scratch = options.scratch[thread] as ThreadScratch;
let seen = 0;
let spins = 0;
while (Atomics.load(control, CONTROL.stop) === 0) {
  const generation = Atomics.load(control, CONTROL.generation);
  if (generation === seen) {
    if (++spins > SPINS) Atomics.wait(control, CONTROL.generation, seen);
    continue;
  }
  seen = generation;
  spins = 0;
  takeTasks(kernel, views, control, options.tasks >> 2, scratch, options.constants);
}
