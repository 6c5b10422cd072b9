import { randomBytes } from 'node:crypto';
import { type Detection, formatLine, ocsfOf } from '../alerts/index.ts';
import { BatchSize } from '../base/index.ts';
import type { Guardian, IngestResult } from '../guardian/index.ts';
import { createPolicy } from '../response/index.ts';
import { collectFlows, type FlowBatch, type FlowSource, openFlowSource } from '../traffic/index.ts';
import { type Api, ApiError } from './api.ts';
import type { Context } from './context.ts';
import { CliError } from './errors.ts';
import { EXIT } from './exit-code.ts';
import { extractionOf, noteExtraction } from './extraction.ts';
import { splitReference } from './models-reference.ts';
import { parseChoice, parseWhole } from './options.ts';
import type { Registrar } from './registrar.ts';
import { openSession, type Session } from './session.ts';
import { SOURCE_ARGUMENT, SOURCES } from './source-text.ts';
import { count, printable } from './text.ts';

interface WatchOptions {
  readonly model?: string;
  readonly filter?: string;
  readonly record?: string;
  readonly recordSize: number;
  readonly recordFiles: number;
  readonly follow?: boolean;
  readonly respond: 'observe' | 'enforce';
}

export function registerWatch({ program, action }: Registrar): void {
  program
    .command('watch')
    .description(
      'Finds threats in a capture or a flow log. With --json each finding is an OCSF Detection Finding.',
    )
    .argument('<source>', SOURCE_ARGUMENT)
    .option('--follow', 'a capture that grows, or a folder of captures to which tcpdump adds; until Ctrl-C')
    .option('--filter <expression>', 'what is captured of an interface, as pcap-filter(7) says')
    .option('--record <file>', 'writes the packets as they came; further files are called FILE.1 and so on')
    .option('--record-size <megabytes>', 'size at which a file is ended', parseWhole(1, 1_000_000), 1_024)
    .option('--record-files <n>', 'files kept; the oldest goes for a new one', parseWhole(1, 10_000), 16)
    .option('--model <reference>', 'registry reference; the configured model by default')
    .option('--respond <mode>', 'observe or enforce', parseChoice(['observe', 'enforce'] as const), 'observe')
    .addHelpText(
      'after',
      `${SOURCES}
Examples:
  guardian watch capture.pcap
  guardian watch eth0 --filter 'not port 22' --record eth0.pcap
  guardian watch /var/capture --follow          what tcpdump -G or -C writes there
  ssh gateway tcpdump -U -w - | guardian watch - --json`,
    )
    .action(
      action<WatchOptions>(
        runWatch,
        ({ model }): Readonly<Record<string, unknown>> =>
          model === undefined ? {} : { 'model.modelPath': model },
      ),
    );
}

/** Where flows go: into the guardian of this process, or over the socket into the owner's. */
interface FlowSink {
  ingest(flows: FlowBatch): Promise<Omit<IngestResult, 'outcomes'>>;
  end(): Promise<readonly Detection[]>;
  /** Digest of the schema of its model. */
  readonly schema: string;
}

const MEGABYTE = 1 << 20;

/** Flows of a live source taken at once, whatever the latency: what a source hands out at most. */
const MAX_FLOWS_AT_ONCE = 4_096;

/** Flows sent to the owner in one request. */
const FLOWS_PER_REQUEST = 1_000;

async function runWatch(context: Context, options: WatchOptions, path = ''): Promise<number | undefined> {
  // Refused before anything is opened: enforcing needs an actuator, and there is none.
  createPolicy({ ...context.config.response, mode: options.respond });
  const session = await openSession(context);
  const started = performance.now();
  const progress = context.output.progress('watching');
  const totals = newTotals();
  let source: FlowSource;
  let entry: number;
  try {
    // The model first: a pipe may keep us waiting for its first byte.
    const sink = await openSink(session, context.config.model.modelPath);
    source = await openFlowSource(path, {
      ...context.config.meter,
      clock: context.clock,
      ...(options.filter !== undefined && { live: { filter: options.filter } }),
      ...(options.follow === true && { follow: true }),
      ...(options.record !== undefined && {
        record: {
          path: options.record,
          fileBytes: options.recordSize * MEGABYTE,
          files: options.recordFiles,
        },
      }),
    });
    const sizes = new BatchSize({
      targetMs: context.config.features.latencyTargetMs,
      maxItems: MAX_FLOWS_AT_ONCE,
    });
    const { clock, signal } = context;
    // A file is read as it was cut, so that it gives the same findings each time; what is live, as fast as it comes.
    const batches =
      source.isEndless === true
        ? collectFlows(source, { clock, signal, next: (waitedMs) => sizes.next(waitedMs) })
        : source.batches(signal);
    for await (const flows of batches) {
      const begun = clock.monotonic();
      const result = await sink.ingest(flows);
      sizes.observe(flows.rows, clock.monotonic() - begun);
      addTo(totals, result);
      for (const detection of result.detections) say(context, totals, detection);
      progress.update(undefined, `${count(source.counters.packets)} packets, ${count(totals.flows)} flows`);
    }
    for (const detection of await sink.end()) say(context, totals, detection);
    const complete = source.isEndless === true || !context.signal.aborted;
    const { rejects } = totals;
    entry = await noteExtraction(
      session.api,
      extractionOf(source, { command: 'watch', source: path, schema: sink.schema, rejects, complete }),
    );
  } finally {
    progress.done();
    await session.close();
  }
  const { packets, malformed, ignored, evicted, limits, lost } = source.counters;
  const read = packets > 0 ? `${count(packets)} packets, ` : '';
  context.output.line(
    `${read}${count(totals.flows)} flows, ${count(totals.findings.size)} findings; nothing was blocked (observing)`,
  );
  const faults = Object.entries(malformed).map(([code, n]) => `${count(n)} ${printable(code)}`);
  if (faults.length > 0) context.output.line(`malformed: ${faults.join(', ')}`);
  const losses = Object.entries(lost).map(([where, n]) => `${count(n)} ${printable(where)}`);
  if (losses.length > 0) context.output.line(`lost: ${losses.join(', ')}`);
  context.output.object({
    type: 'watch.result',
    source: path,
    sourceKind: source.kind,
    packets,
    flows: totals.flows,
    findings: totals.findings.size,
    verdicts: totals.verdicts,
    decisions: totals.decisions,
    malformed,
    ignored,
    evicted,
    limits,
    losses: lost,
    rejects: totals.rejects,
    auditEntry: entry,
    seconds: Math.round(performance.now() - started) / 1000,
  });
  // What was seen until then is said; the code tells a script that it is not all.
  return context.signal.aborted ? EXIT.interrupted : undefined;
}

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
  const { name: model } = await guardian.load(reference);
  return {
    schema: guardian.schemaOf(model)?.id ?? '',
    ingest: (flows) => guardian.ingestFlows(flows, { route: 'watch', model }),
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

interface Totals {
  flows: number;
  readonly rejects: Record<string, number>;
  readonly findings: Set<string>;
  readonly verdicts: Record<keyof IngestResult['verdicts'], number>;
  readonly decisions: Record<keyof IngestResult['decisions'], number>;
}

function newTotals(): Totals {
  return {
    flows: 0,
    rejects: {},
    findings: new Set(),
    verdicts: { attack: 0, benign: 0, abstain: 0 },
    decisions: { allow: 0, observe: 0, 'would-block': 0, vetoed: 0, block: 0 },
  };
}

function addTo(totals: Totals, result: Omit<IngestResult, 'outcomes'>): void {
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

/** Scripts get every state of a finding; people its beginning and its end. */
function say(context: Context, totals: Totals, detection: Detection): void {
  totals.findings.add(detection.uid);
  context.output.object(ocsfOf(detection));
  if (detection.activity !== 'update') context.output.line(formatLine(detection));
}
