import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from './free-port.ts';

/** A nats-server with JetStream of our own, on a free port of loopback, in a folder that goes with it. */
export interface NatsHouse {
  readonly server: string;
  /** Ends the server at once, as a crash would. */
  kill(): Promise<void>;
  /** Starts it again over the same folder and port. */
  restart(): Promise<void>;
  close(): Promise<void>;
}

/** `lines` go into its configuration. Needs `nats-server` on the path. */
export async function startNats(lines: readonly string[] = []): Promise<NatsHouse> {
  const folder = mkdtempSync(join(tmpdir(), 'guardian-nats-'));
  const port = await freePort();
  const config = join(folder, 'nats.conf');
  writeFileSync(
    config,
    [
      `listen: 127.0.0.1:${port}`,
      `jetstream { store_dir: ${JSON.stringify(join(folder, 'store'))}, max_file_store: 2147483648 }`,
      ...lines,
      '',
    ].join('\n'),
  );
  let child = await start(config, port);
  const stop = async (signal: NodeJS.Signals) => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await once(child, 'exit');
  };
  return {
    server: `nats://127.0.0.1:${port}`,
    kill: () => stop('SIGKILL'),
    restart: async () => {
      child = await start(config, port);
    },
    close: async () => {
      await stop('SIGKILL');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function start(config: string, port: number): Promise<ChildProcess> {
  const child = spawn('nats-server', ['-c', config], { stdio: 'ignore' });
  const ended = once(child, 'exit').then(() => {
    throw new Error('nats-server ended before it listened');
  });
  ended.catch(() => {});
  await Promise.race([listening(port), ended]);
  return child;
}

async function listening(port: number): Promise<void> {
  for (;;) {
    const socket = createConnection({ host: '127.0.0.1', port });
    const isOpen = await Promise.race([
      once(socket, 'connect').then(() => true),
      once(socket, 'error').then(() => false),
    ]).catch(() => false);
    socket.destroy();
    if (isOpen) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
