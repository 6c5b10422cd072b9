import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { type FloodOrder, type FloodResult, runFlood } from './flood.ts';
import { startPinned } from './pinned-process.ts';

/** Floods from a process of its own, held to one core. */
export async function floodFrom(core: number, order: FloodOrder): Promise<FloodResult> {
  const main = fileURLToPath(import.meta.url);
  const { child, stop } = startPinned(core, [process.execPath, main], { stdio: 'ipc' });
  try {
    const answered = once(child, 'message');
    const ended = once(child, 'exit').then(() => Promise.reject(new Error('the generator ended')));
    child.send(order);
    const [answer] = (await Promise.race([answered, ended])) as [
      { readonly result?: FloodResult; readonly error?: string },
    ];
    if (answer.result === undefined) throw new Error(`the generator failed: ${answer.error}`);
    return answer.result;
  } finally {
    await stop();
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.once('message', (order: FloodOrder) => {
    runFlood(order).then(
      (result) => process.send?.({ result }),
      (error: unknown) => process.send?.({ error: String(error) }),
    );
  });
  process.on('disconnect', () => process.exit(0));
}
