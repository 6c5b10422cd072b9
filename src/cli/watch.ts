import { randomBytes } from 'node:crypto';
import { type Detection, formatLine, ocsfOf } from '../alerts/index.ts';
import type { Guardian, IngestResult } from '../guardian/index.ts';
import { createPolicy } from '../response/index.ts';
import { type FlowBatch, type FlowSource, openFlowSource } from '../traffic/index.ts';
import { type Api, ApiError } from './api.ts';
import type { Context } from './context.ts';
import { CliError } from './errors.ts';
import { EXIT } from './exit-code.ts';
import { splitReference } from './models-reference.ts';
import { parseChoice } from './options.ts';
import type { Registrar } from './registrar.ts';
import { openSession, type Session } from './session.ts';
import { count, printable } from './text.ts';

interface WatchOptions {
  readonly model?: string;
  readonly respond: 'observe' | 'enforce';
}

export function registerWatch({ program, action }: Registrar): void {
  program
    .command('watch')
    .description(
      'Finds threats in a capture or a flow log. With --json each finding is an OCSF Detection Finding.',
    )
    .argument(
      '<source>',
      'pcap, pcapng, Zeek conn.log (TSV or JSON) or flow CSV, plain or gzip; - is standard input',
    )
    .option('--model <reference>', 'registry reference; the configured model by default')
    .option('--respond <mode>', 'observe or enforce', parseChoice(['observe', 'enforce'] as const), 'observe')
    .addHelpText(
      'after',
      '\nExamples:\n  guardian watch capture.pcap\n  tcpdump -w - -i eth0 | guardian watch - --json',
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
}

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
  try {
    // The model first: a pipe may keep us waiting for its first byte.
    const sink = await openSink(session, context.config.model.modelPath);
    source = await openFlowSource(path, context.config.meter);
    for await (const flows of source.batches(context.signal)) {
      const result = await sink.ingest(flows);
      addTo(totals, result);
      for (const detection of result.detections) say(context, totals, detection);
      progress.update(undefined, `${count(source.counters.packets)} packets, ${count(totals.flows)} flows`);
    }
    for (const detection of await sink.end()) say(context, totals, detection);
  } finally {
    progress.done();
    await session.close();
  }
  const { packets, malformed, ignored, evicted } = source.counters;
  const read = packets > 0 ? `${count(packets)} packets, ` : '';
  context.output.line(
    `${read}${count(totals.flows)} flows, ${count(totals.findings.size)} findings; nothing was blocked (observing)`,
  );
  const faults = Object.entries(malformed).map(([code, n]) => `${count(n)} ${printable(code)}`);
  if (faults.length > 0) context.output.line(`malformed: ${faults.join(', ')}`);
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
      return { flows: total.flows, verdicts: total.verdicts, decisions: total.decisions, detections };
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
  readonly findings: Set<string>;
  readonly verdicts: Record<keyof IngestResult['verdicts'], number>;
  readonly decisions: Record<keyof IngestResult['decisions'], number>;
}

function newTotals(): Totals {
  return {
    flows: 0,
    findings: new Set(),
    verdicts: { attack: 0, benign: 0, abstain: 0 },
    decisions: { allow: 0, observe: 0, 'would-block': 0, vetoed: 0, block: 0 },
  };
}

function addTo(totals: Totals, result: Omit<IngestResult, 'outcomes'>): void {
  totals.flows += result.flows;
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
