import { type LoadedSchema, loadSchema } from '../features/index.ts';
import type { Membership } from '../guardian/index.ts';
import { listenSocket } from '../server/index.ts';
import {
  memberRows,
  memberSubject,
  rosterDigest,
  SecureMember,
  tableDigest,
  verifyRoster,
} from '../training/index.ts';
import { type BusOptions, openBus } from './bus-options.ts';
import type { Context } from './context.ts';
import { CliError } from './errors.ts';
import { type Extraction, noteExtraction } from './extraction.ts';
import { readLabelledData } from './labelled-data.ts';
import { openMemberState } from './member-state.ts';
import { readApproverFile, readRosterFile } from './secure-files.ts';
import { withSession } from './session.ts';
import { count, printable } from './text.ts';
import { TrainingKeysClient } from './training-keys.ts';

export interface SecureWorkerOptions extends BusOptions {
  readonly roster?: string;
  readonly approver?: string;
  readonly data?: string;
  readonly schema?: string;
  readonly labels?: string;
  readonly minCellRows: number;
  readonly minGroup: number;
  readonly threads: number;
}

/**
 * Takes part in a secure training with rows of this site, until Ctrl-C. The roster must be signed by the approver that the member
 * trusts, name this site, and keep to the group that the member asks for; all of it before a row is read.
 */
export async function runSecureWorker(context: Context, options: SecureWorkerOptions): Promise<undefined> {
  const { roster: rosterPath, approver: approverPath, data, schema: schemaName } = options;
  if (rosterPath === undefined || approverPath === undefined) {
    throw new CliError('cli.usage', '--secure needs --roster FILE and --approver FILE, whom you trust');
  }
  if (data === undefined || schemaName === undefined) {
    throw new CliError('cli.usage', '--secure needs --data FILE and --schema NAME: the rows of this site');
  }
  const { algorithm, publicKeyPem } = await readApproverFile(approverPath);
  const approver = { algorithm, publicKeyPem };
  const signed = await readRosterFile(rosterPath);
  const roster = verifyRoster(signed, approver);
  if (roster.minGroup < options.minGroup) {
    throw new CliError(
      'cli.check-failed',
      `expected sums of ${options.minGroup} members at least, the roster allows ${roster.minGroup}`,
    );
  }
  const schema: LoadedSchema = await loadSchema(schemaName);
  const extractions: Extraction[] = [];
  const { labels, minCellRows, threads } = options;
  const read = await readLabelledData(context, schema, data, { labels, command: 'train', extractions });
  const own = memberRows(read, context.config.training);
  await withSession(context, async ({ api, guardian }) => {
    const socket = guardian && (await listenSocket(guardian));
    try {
      for (const extraction of extractions) await noteExtraction(api, extraction);
      const { member } = (await api.call('POST', '/v1/training/memberships', {
        ...{ signed, approver },
      })) as Membership;
      const keys = new TrainingKeysClient(api);
      const state = await openMemberState(context, {
        ...{ run: roster.run, keys },
        about: {
          ...{ data: tableDigest(own.table), schema: schema.id, configuration: rosterDigest(roster) },
          ...{ seed: 0, trainer: 'secure member 1' },
        },
      });
      const worker = new SecureMember({
        ...{ self: member, roster, rows: own.rows, encode: own.encode, minCellRows, threads },
        answered: state.answered,
        sign: async (message) => {
          const body = { message: Buffer.from(message).toString('base64') };
          const answer = await api.call('POST', '/v1/training/memberships/sign', body);
          return Buffer.from((answer as { signature: string }).signature, 'base64');
        },
      });
      try {
        await serve(context, options, { worker, member, run: roster.run, rows: own.rows });
      } finally {
        await worker.close();
        state.close();
      }
    } finally {
      await socket?.close();
    }
  });
  return undefined;
}

async function serve(
  { output, signal }: Context,
  options: SecureWorkerOptions,
  { worker, member, run, rows }: { worker: SecureMember; member: string; run: string; rows: number },
): Promise<void> {
  const bus = await openBus(options);
  try {
    let refusals = 0;
    const stop = await bus.respond(memberSubject(run, member), async (request) => {
      try {
        return await worker.handle(request);
      } catch (error) {
        // Whoever coordinates is told as well; here it is what the owner of the rows has to know.
        refusals++;
        const why = error instanceof Error ? error.message : String(error);
        output.note(`guardian: refused: ${printable(why)}`);
        throw error;
      }
    });
    output.line(`${member} takes part in run ${run} with ${count(rows)} rows, until Ctrl-C`);
    output.object({ type: 'worker.ready', id: member, run, rows });
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
    await stop();
    output.object({ type: 'worker.ended', id: member, run, refusals });
  } finally {
    await bus.close();
  }
}
