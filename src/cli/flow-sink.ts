import { randomBytes } from 'node:crypto';
import { AlertsError, type Detection } from '../alerts/index.ts';
import type { Guardian, IngestResult } from '../guardian/index.ts';
import type { FlowBatch } from '../traffic/index.ts';
import { type Api, ApiError } from './api.ts';
import { CliError } from './errors.ts';
import { splitReference } from './models-reference.ts';
import type { Session } from './session.ts';
import { printable } from './text.ts';

/** Where flows go: into the guardian of this process, or over the socket into the owner's. */
export interface FlowSink {
  ingest(flows: FlowBatch): Promise<Omit<IngestResult, 'outcomes'>>;
  /** Whether, after an error of `ingest`, what the flows came to is kept and will be stored. */
  keeps?(error: unknown): boolean;
  end(): Promise<readonly Detection[]>;
  /** Digest of the schema of its model. */
  readonly schema: string;
  /** Source kinds that the model was trained on; on others it abstains. */
  readonly trainedOn: readonly string[];
  /** Source kinds that the schema can compute, where it is at hand; others are refused. */
  readonly readable?: readonly string[] | undefined;
}

/** States of findings that may wait for the database before a watch gives up: some 20 MB. */
const MAX_UNSAVED = 10_000;
/** Flows sent to the owner in one request. */
const FLOWS_PER_REQUEST = 1_000;

/** Throws `cli.no-model` where the reference names nothing, here or at the owner of the state. */
export async function openSink(
  { api, guardian }: Pick<Session, 'api' | 'guardian'>,
  reference: string,
): Promise<FlowSink> {
  try {
    return guardian === undefined ? await remoteSink(api, reference) : await localSink(guardian, reference);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code !== 'registry.version-unknown' && code !== 'registry.alias-unknown') throw error;
    throw new CliError(
      'cli.no-model',
      `there is no model ${printable(reference)} to watch with: \`guardian demo --once\` makes one, \`guardian train\` trains your own`,
      { cause: error },
    );
  }
}

async function localSink(guardian: Guardian, reference: string): Promise<FlowSink> {
  const { name: model, sourceKinds } = await guardian.load(reference);
  const loaded = guardian.schemaOf(model);
  return {
    schema: loaded?.id ?? '',
    trainedOn: sourceKinds,
    readable: loaded?.schema.sourceKinds,
    ingest: (flows) => guardian.ingestFlows(flows, { route: 'watch', model }),
    keeps: (error) =>
      error instanceof AlertsError &&
      error.code === 'alerts.not-stored' &&
      guardian.detections.stats.unsaved < MAX_UNSAVED,
    end: () => guardian.endRoute('watch'),
  };
}

async function remoteSink(api: Api, reference: string): Promise<FlowSink> {
  const { name, at } = splitReference(reference);
  const served = (await api.call(
    'GET',
    `/v1/models/${encodeURIComponent(name)}?version=${encodeURIComponent(at)}`,
  )) as {
    version: string;
    schemaId: string;
    sourceKinds: readonly string[];
  };
  const status = (await api.call('GET', '/v1/status')) as {
    models: readonly { name: string; version: string }[];
  };
  const loaded = status.models.find((model) => model.name === name);
  if (loaded?.version !== served.version) {
    throw new ApiError(409, {
      error: `the owner of the state serves ${name}@${loaded?.version ?? 'nothing'}, not ${printable(reference)}; promote it first`,
      code: 'cli.refused',
    });
  }
  const route = `watch-${randomBytes(6).toString('hex')}`;
  const query = `route=${route}&model=${encodeURIComponent(name)}`;
  return {
    schema: served.schemaId,
    trainedOn: served.sourceKinds,
    ingest: async (flows) => {
      const total = newTotals();
      const detections: Detection[] = [];
      const records = flows.records();
      for (let i = 0; i < records.length; i += FLOWS_PER_REQUEST) {
        const part = records.slice(i, i + FLOWS_PER_REQUEST);
        const result = (await api.call('POST', `/v1/events?${query}`, part)) as Omit<
          IngestResult,
          'outcomes'
        >;
        addTo(total, result);
        detections.push(...result.detections);
      }
      return {
        flows: total.flows,
        rejects: total.rejects,
        verdicts: total.verdicts,
        decisions: total.decisions,
        detections,
      };
    },
    end: async () => {
      const { detections } = (await api.call('POST', `/v1/events/end?route=${route}`)) as {
        detections: readonly Detection[];
      };
      return detections;
    },
  };
}

/** What came of the flows of a run. */
export interface Totals {
  flows: number;
  readonly rejects: Record<string, number>;
  readonly findings: Set<string>;
  readonly verdicts: Record<keyof IngestResult['verdicts'], number>;
  readonly decisions: Record<keyof IngestResult['decisions'], number>;
}

export function newTotals(): Totals {
  return {
    flows: 0,
    rejects: {},
    findings: new Set(),
    verdicts: { attack: 0, benign: 0, abstain: 0 },
    decisions: { allow: 0, observe: 0, 'would-block': 0, vetoed: 0, block: 0 },
  };
}

export function addTo(totals: Totals, result: Omit<IngestResult, 'outcomes'>): void {
  totals.flows += result.flows;
  for (const [reason, n] of Object.entries(result.rejects)) {
    totals.rejects[reason] = (totals.rejects[reason] ?? 0) + n;
  }
  for (const key of Object.keys(totals.verdicts) as (keyof Totals['verdicts'])[]) {
    totals.verdicts[key] += result.verdicts[key];
  }
  for (const key of Object.keys(totals.decisions) as (keyof Totals['decisions'])[]) {
    totals.decisions[key] += result.decisions[key];
  }
}
