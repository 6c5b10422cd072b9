import { yieldRuntimeThreads } from '../../../src/cli/runtime-threads.ts';
import { runGrpc } from './grpc-load.ts';
import { runHttp } from './http-load.ts';
import type { Order } from './load.ts';

// The collector's threads would take the core from who watches the clock.
yieldRuntimeThreads();

/** A process of its own: takes orders from its parent, one at a time, and answers with what it saw. */
process.on('message', (order: Order) => {
  const run = order.kind === 'http' ? runHttp(order) : runGrpc(order);
  run.then(
    (result) => process.send?.({ result }),
    (error: unknown) => process.send?.({ error: String(error) }),
  );
});
process.on('disconnect', () => process.exit(0));
