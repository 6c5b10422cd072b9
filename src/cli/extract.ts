import { rm } from 'node:fs/promises';
import { FlowExtractor, loadSchema } from '../features/index.ts';
import type { FlowSource } from '../traffic/index.ts';
import type { Context } from './context.ts';
import { CliError } from './errors.ts';
import { extractionOf, noteWhereThereIsState } from './extraction.ts';
import { FLOW_WRITERS, type FlowWriter } from './flow-writers.ts';
import { refuseExisting } from './lab.ts';
import { openSource } from './open-source.ts';
import type { Registrar } from './registrar.ts';
import { faultsTable, SOURCE_ARGUMENT, SOURCES } from './source-text.ts';
import { count, printable } from './text.ts';

interface ExtractOptions {
  readonly out: string;
  readonly schema: string;
  readonly filter?: string;
  readonly follow?: boolean;
}

export function registerExtract({ program, action }: Registrar): void {
  program
    .command('extract')
    .description(
      'Writes the flows of a source with their features, as CSV, JSON lines or Parquet by the name of the file.',
    )
    .argument('<source>', SOURCE_ARGUMENT)
    .requiredOption('--out <file>', 'a name that ends in .csv, .jsonl or .parquet')
    .option('--schema <name|file>', 'feature schema', 'flow-core')
    .option(
      '--follow',
      'reads on as the file grows and is rotated, or captures come into the folder; until Ctrl-C',
    )
    .option('--filter <expression>', 'what is captured of an interface, as pcap-filter(7) says')
    .addHelpText(
      'after',
      `
What is written can be read again, here and by \`watch\` and \`train\`, and gives the same features. Where there is state,
the run leaves an entry in the audit log; extracting needs none.
${SOURCES}
Examples:
  guardian extract capture.pcap --out flows.csv
  guardian extract capture.pcap --schema flow --out flows.parquet
  guardian extract eth0 --filter 'not port 22' --out flows.jsonl    until Ctrl-C
  guardian extract conn.log.gz --out flows.csv
  guardian extract eve.json --schema flow --out flows.parquet
  guardian extract netflow://127.0.0.1:2055 --schema flow --out flows.jsonl`,
    )
    .action(action<ExtractOptions>(runExtract));
}

async function runExtract(context: Context, options: ExtractOptions, source = ''): Promise<undefined> {
  const extension = /\.[a-z]+$/.exec(options.out)?.[0] ?? '';
  const create = FLOW_WRITERS[extension];
  if (create === undefined) {
    throw new CliError('cli.usage', `expected --out to end in ${Object.keys(FLOW_WRITERS).join(' or ')}`);
  }
  await refuseExisting(options.out);
  const loaded = await loadSchema(options.schema);
  const extractor = new FlowExtractor(loaded);
  const opened = await openSource(context, source, options);
  const started = performance.now();
  const writer = await create(options.out, loaded.schema.columns);
  try {
    await writeFlows(context, { opened, extractor, writer });
    // What is asked of an interface ends by Ctrl-C, and is whole then.
    if (opened.isEndless !== true) context.signal.throwIfAborted();
    await writer.close();
  } catch (error) {
    await writer.abandon();
    await rm(options.out, { force: true });
    throw error;
  }
  const { packets, bytes, flows, fragments, evicted, ignored, malformed, limits, lost } = opened.counters;
  const { rejects } = extractor.counters;
  context.output.line(`${count(packets)} packets, ${count(flows)} flows in ${printable(options.out)}`);
  const faults = faultsTable(opened.counters, rejects.byReason);
  if (faults !== undefined) context.output.line(faults);
  const entry = await noteWhereThereIsState(
    context,
    extractionOf(opened, {
      ...{ command: 'extract', source, schema: loaded.id, rejects: rejects.byReason, complete: true },
    }),
  );
  context.output.object({
    type: 'extract.result',
    ...{ packets, bytes, flows, fragments, evicted },
    rejected: rejects.total,
    ...{ ignored, malformed, limits, losses: lost },
    rejects: rejects.byReason,
    schema: loaded.id,
    auditEntry: entry ?? null,
    seconds: Math.round(performance.now() - started) / 1000,
  });
  return undefined;
}

async function writeFlows(
  context: Context,
  {
    opened,
    extractor,
    writer,
  }: { readonly opened: FlowSource; readonly extractor: FlowExtractor; readonly writer: FlowWriter },
): Promise<void> {
  const progress = context.output.progress('extracting');
  try {
    for await (const flows of opened.batches(context.signal)) {
      await writer.write(flows, extractor.extract(flows));
      const { packets, flows: seen } = opened.counters;
      progress.update(undefined, `${count(packets)} packets, ${count(seen)} flows`);
    }
  } finally {
    progress.done();
  }
}
