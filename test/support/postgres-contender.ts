import { join } from 'node:path';
import { systemClock } from '../../src/base/index.ts';
import { configurationSchema } from '../../src/configuration.ts';
import { type Guardian, openGuardian } from '../../src/guardian/index.ts';
import { hasCode } from './postgres-race.ts';

/** What a contender is told. */
export type Order =
  | { readonly do: 'promote'; readonly version: string }
  | { readonly do: 'take-over'; readonly version: string }
  | { readonly do: 'promote-on' }
  | { readonly do: 'close' };

/** What it answers. */
export type Told =
  | { readonly is: 'ready' | 'closed' }
  | { readonly is: 'won' | 'promoted'; readonly intent: number; readonly version: string }
  | { readonly is: 'refused'; readonly code: string }
  /** The first refusal in the loop, then those of an append and of a pointer tried once more. */
  | { readonly is: 'stopped'; readonly codes: readonly string[] };

const VERSIONS = ['1.0.0', '1.1.0'] as const;

/**
 * A server in a process of its own: `ROOT NAME POSTGRES`, the last a `storage.postgres` in JSON. Takes orders and tells
 * what became of them through the channel to its parent.
 */
async function contend(root: string, name: string, postgres: string): Promise<void> {
  const principal = { principal: name };
  let guardian: Guardian | undefined;
  const open = () =>
    openGuardian({
      stateFolder: join(root, name),
      configFolder: join(root, 'config'),
      config: configurationSchema.parse({
        storage: { database: 'postgres', postgres: JSON.parse(postgres), sharedFolder: join(root, 'shared') },
      }),
      clock: systemClock,
    });
  const tell = (told: Told) => void process.send?.(told);

  const promote = async (version: string) => {
    try {
      guardian ??= await open();
      const { intent } = await guardian.promote('flow', version, 'champion', principal);
      tell({ is: 'won', intent, version });
    } catch (error) {
      tell({ is: 'refused', code: hasCode(error) });
    }
  };

  const takeOver = async (version: string): Promise<void> => {
    while (guardian === undefined) {
      try {
        guardian = await open();
      } catch (error) {
        if (hasCode(error) !== 'storage.writer-leased') return tell({ is: 'refused', code: hasCode(error) });
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
    await promote(version);
  };

  const promoteOn = async (): Promise<void> => {
    const codes: string[] = [];
    if (guardian === undefined) return tell({ is: 'stopped', codes: ['no guardian is open'] });
    try {
      for (let i = 0; ; i++) {
        const version = VERSIONS[i % 2] as string;
        const { intent } = await guardian.promote('flow', version, 'champion', principal);
        tell({ is: 'promoted', intent, version });
      }
    } catch (error) {
      codes.push(hasCode(error));
    }
    const { log, database } = guardian;
    const note = { kind: 'event', action: 'test.note', ...principal, subject: 'late', detail: {} } as const;
    const move = {
      ...{ name: 'flow', alias: 'champion', version: '1.0.0', intent: 1_000_000, action: 'promote' as const },
      ...{ ...principal, changedAt: new Date().toISOString(), approvals: [] },
    };
    for (const work of [() => log.append(note), () => database.aliases.move(move)]) {
      codes.push(await work().then(() => 'done', hasCode));
    }
    tell({ is: 'stopped', codes });
  };

  process.on('message', (order: Order) => {
    if (order.do === 'promote') void promote(order.version);
    else if (order.do === 'take-over') void takeOver(order.version);
    else if (order.do === 'promote-on') void promoteOn();
    else {
      const closing = guardian?.close().catch(() => {});
      guardian = undefined;
      void Promise.resolve(closing).then(() => tell({ is: 'closed' }));
    }
  });
  process.once('disconnect', () => process.exit());
  tell({ is: 'ready' });
}

if (import.meta.main) {
  const [root = '', name = '', postgres = ''] = process.argv.slice(2);
  await contend(root, name, postgres);
}
