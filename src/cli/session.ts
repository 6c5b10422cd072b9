import { type Guardian, openGuardian } from '../guardian/index.ts';
import { buildServer } from '../server/index.ts';
import { StorageError, stateLayout } from '../storage/index.ts';
import { Api, injectTransport, socketTransport } from './api.ts';
import type { Context } from './context.ts';
import { turnCoreDumpsOff } from './core-dumps.ts';

/** A way to the one owner of the state: another process behind its socket, or this process itself. */
export interface Session {
  readonly api: Api;
  /** Present where this process owns the state. */
  readonly guardian?: Guardian;
  close(): Promise<void>;
}

/** Takes the state folder, or becomes the client of the process that owns it. */
export async function openSession(context: Context): Promise<Session> {
  const guardian = await openOwnGuardian(context);
  if (guardian === undefined) {
    const api = new Api(socketTransport(stateLayout(context.stateFolder).socket));
    return { api, close: async () => {} };
  }
  const application = await buildServer(guardian, { trust: 'local' });
  return {
    api: new Api(injectTransport(application)),
    guardian,
    close: async () => {
      await application.close();
      await guardian.close();
    },
  };
}

/** Runs `work` in a session and closes it whatever happens. */
export async function withSession<T>(context: Context, work: (session: Session) => Promise<T>): Promise<T> {
  const session = await openSession(context);
  try {
    return await work(session);
  } finally {
    await session.close();
  }
}

/** The guardian of this process; undefined where another process owns the state. */
export async function openOwnGuardian(context: Context): Promise<Guardian | undefined> {
  // Before the first key is in memory.
  await turnCoreDumpsOff();
  try {
    return await openGuardian({
      stateFolder: context.stateFolder,
      configFolder: context.configFolder,
      config: context.config,
      origins: context.resolved.origins,
      clock: context.clock,
      logger: context.logger,
    });
  } catch (error) {
    if (error instanceof StorageError && error.code === 'storage.state-owned') return undefined;
    throw error;
  }
}
