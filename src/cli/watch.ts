import { type Detection, formatLine, ocsfOf } from '../alerts/index.ts';
import { BatchSize } from '../base/index.ts';
import { createPolicy } from '../response/index.ts';
import { collectFlows, type FlowSource } from '../traffic/index.ts';
import type { Context } from './context.ts';
import { EXIT } from './exit-code.ts';
import { extractionOf, noteExtraction } from './extraction.ts';
import { addTo, type FlowSink, newTotals, openSink, type Totals } from './flow-sink.ts';
import { openSource, refuseOpened } from './open-source.ts';
import { parseChoice, parseWhole } from './options.ts';
import type { Registrar } from './registrar.ts';
import { openSession } from './session.ts';
import { faultsTable, SOURCE_ARGUMENT, SOURCES } from './source-text.ts';
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
      'Finds threats in captures, on an interface, in flow logs or in what exporters send. With --json each finding is an OCSF Detection Finding.',
    )
    .argument('<source>', SOURCE_ARGUMENT)
    .option(
      '--follow',
      'reads on as the file grows and is rotated, or captures come into the folder; until Ctrl-C',
    )
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
  guardian watch /var/capture --follow              what tcpdump -G or -C writes there
  guardian watch /opt/zeek/logs/current/conn.log --follow
  guardian watch eve.json.gz --model flows          a model trained with --schema flow
  guardian watch netflow://127.0.0.1:2055 --model flows
  guardian watch 'ipfix://0.0.0.0:4739?allow=192.0.2.7' --model flows --json
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

const MEGABYTE = 1 << 20;

/** Flows of a live source taken at once, whatever the latency: what a source hands out at most. */
const MAX_FLOWS_AT_ONCE = 4_096;

async function runWatch(context: Context, options: WatchOptions, path = ''): Promise<number | undefined> {
  // Refused before anything is opened: enforcing needs an actuator, and there is none.
  createPolicy({ ...context.config.response, mode: options.respond });
  const session = await openSession(context);
  const started = performance.now();
  const totals = newTotals();
  const { recordSize, recordFiles: files } = options;
  let source: FlowSource;
  let entry: number;
  let complete = false;
  try {
    await session.guardian?.notices.start();
    // The model first: a pipe may keep us waiting for its first byte.
    const sink = await openSink(session, context.config.model.modelPath);
    source = await openSource(context, path, {
      ...options,
      record:
        options.record === undefined
          ? undefined
          : { path: options.record, fileBytes: recordSize * MEGABYTE, files },
    });
    const opened = source;
    const note = async () => {
      const { rejects } = totals;
      const run = { command: 'watch', source: path, schema: sink.schema, rejects, complete } as const;
      return await noteExtraction(session.api, extractionOf(opened, run));
    };
    try {
      await checkKind(context, sink, source);
      await watchFlows(context, { sink, source, totals });
      complete = source.isEndless === true || !context.signal.aborted;
    } catch (error) {
      // Of what was read until then the log knows too; that the run failed is what its user is told.
      await note().catch(() => {});
      throw error;
    }
    entry = await note();
  } finally {
    await session.close();
  }
  sum(context, source, totals);
  const { packets, malformed, ignored, evicted, limits, lost } = source.counters;
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
  return complete ? undefined : EXIT.interrupted;
}

/** Kinds that batches tell for themselves: a file of flows keeps the meter that each had. */
const MIXED_KIND = 'csv';

/** Throws `cli.usage` for flows that the model's schema cannot compute; notes those it can say nothing of. */
async function checkKind(
  { output, config }: Context,
  { trainedOn, readable }: FlowSink,
  source: FlowSource,
): Promise<void> {
  const { kind } = source;
  if (kind === MIXED_KIND) return;
  const model = printable(config.model.modelPath);
  if (readable?.includes(kind) === false) {
    await refuseOpened(
      source,
      `the schema of ${model} reads ${readable.join(', ')}, and these flows are ${kind}: a model for them is trained with --schema flow`,
    );
  }
  if (!trainedOn.includes(kind)) {
    output.note(`${model} was trained on ${trainedOn.join(', ')}: of ${kind} flows it says nothing`);
  }
}

async function watchFlows(
  context: Context,
  { sink, source, totals }: { readonly sink: FlowSink; readonly source: FlowSource; readonly totals: Totals },
): Promise<void> {
  const { clock, signal, output } = context;
  const targetMs = context.config.features.latencyTargetMs;
  const sizes = new BatchSize({ targetMs, maxItems: MAX_FLOWS_AT_ONCE });
  // A file is read as it was cut, so that it gives the same findings each time; what is live, as fast as it comes.
  const batches =
    source.isEndless === true
      ? collectFlows(source, { clock, signal, next: (waitedMs) => sizes.next(waitedMs) })
      : source.batches(signal);
  const progress = output.progress('watching');
  let isWaiting = false;
  try {
    for await (const flows of batches) {
      const begun = clock.monotonic();
      const result = await sink.ingest(flows).catch((error: unknown) => {
        // What is live does not come again, and its findings wait in memory until the database takes them.
        if (source.isEndless !== true || sink.keeps?.(error) !== true) throw error;
        return undefined;
      });
      sizes.observe(flows.rows, clock.monotonic() - begun);
      if (result === undefined) {
        if (!isWaiting) output.note('findings wait in memory for the database, which does not take them');
        isWaiting = true;
        continue;
      }
      isWaiting = false;
      addTo(totals, result);
      for (const detection of result.detections) say(context, totals, detection);
      progress.update(undefined, `${count(source.counters.packets)} packets, ${count(totals.flows)} flows`);
    }
    for (const detection of await sink.end()) say(context, totals, detection);
  } finally {
    progress.done();
  }
}

/** The last lines, for people. */
function sum({ output }: Context, { counters }: FlowSource, { flows, findings, verdicts, rejects }: Totals) {
  const read = counters.packets > 0 ? `${count(counters.packets)} packets, ` : '';
  const abstained = verdicts.abstain > 0 ? `, ${count(verdicts.abstain)} without a verdict` : '';
  output.line(
    `${read}${count(flows)} flows${abstained}, ${count(findings.size)} findings; nothing was blocked (observing)`,
  );
  const faults = faultsTable(counters, rejects);
  if (faults !== undefined) output.line(faults);
}

/** Scripts get every state of a finding; people its beginning and its end. */
function say(context: Context, totals: Totals, detection: Detection): void {
  totals.findings.add(detection.uid);
  context.output.object(ocsfOf(detection));
  if (detection.activity !== 'update') context.output.line(formatLine(detection));
}
