import { existsSync } from 'node:fs';
import { stateLayout } from '../storage/index.ts';
import type { FlowSource } from '../traffic/index.ts';
import type { Api } from './api.ts';
import type { Context } from './context.ts';
import { withSession } from './session.ts';
import { printable } from './text.ts';

/** What a run made of a source, as the audit log holds it. */
export interface Extraction {
  readonly command: 'extract' | 'watch' | 'train' | 'evaluate';
  readonly source: string;
  readonly sourceKind: string;
  readonly schema: string;
  readonly packets: number;
  readonly bytes: number;
  readonly flows: number;
  readonly rejected: number;
  readonly rejects: Readonly<Record<string, number>>;
  readonly malformed: Readonly<Record<string, number>>;
  readonly limits: Readonly<Record<string, number>>;
  readonly lost: Readonly<Record<string, number>>;
  readonly complete: boolean;
}

const MAX_SOURCE = 1_024;

/** `rejects`: flows the schema refused, by code and column. */
export function extractionOf(
  { kind, counters }: FlowSource,
  run: Pick<Extraction, 'command' | 'source' | 'schema' | 'rejects' | 'complete'>,
): Extraction {
  const { packets, bytes, flows, malformed, limits, lost } = counters;
  return {
    ...run,
    source: run.source.slice(0, MAX_SOURCE),
    sourceKind: kind,
    ...{ packets, bytes, flows, malformed, limits, lost },
    rejected: Object.values(run.rejects).reduce((sum, n) => sum + n, 0),
  };
}

/** Index of the entry. */
export async function noteExtraction(api: Api, extraction: Extraction): Promise<number> {
  const { index } = (await api.call('POST', '/v1/extractions', extraction)) as { index: number };
  return index;
}

/**
 * As `noteExtraction`, for a command that needs no state: where there is none, or it cannot be opened, the work stands,
 * nothing is noted, and stderr says so. Undefined then.
 */
export async function noteWhereThereIsState(
  context: Context,
  extraction: Extraction,
): Promise<number | undefined> {
  if (!existsSync(stateLayout(context.stateFolder).lock)) {
    context.output.note(`no audit entry: there is no state in ${printable(context.stateFolder)}`);
    return undefined;
  }
  try {
    return await withSession(context, ({ api }) => noteExtraction(api, extraction));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    context.output.note(`no audit entry: ${printable(why)}`);
    return undefined;
  }
}
