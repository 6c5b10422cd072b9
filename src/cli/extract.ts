import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { FlowExtractor, loadSchema } from '../features/index.ts';
import { FLOW_CSV_COLUMNS, type FlowRecord, flowToCsvRow, openFlowSource } from '../traffic/index.ts';
import type { Context } from './context.ts';
import { CliError } from './errors.ts';
import { refuseExisting } from './lab.ts';
import type { Registrar } from './registrar.ts';
import { count, printable, table } from './text.ts';

interface ExtractOptions {
  readonly out: string;
  readonly schema: string;
}

export function registerExtract({ program, action }: Registrar): void {
  program
    .command('extract')
    .description(
      'Writes the flows of a source with their features, as CSV or JSON lines by the name of the file.',
    )
    .argument('<source>', 'pcap, pcapng, Zeek conn.log or flow CSV, plain or gzip; - is standard input')
    .requiredOption('--out <file>', 'a name that ends in .csv or .jsonl')
    .option('--schema <name|file>', 'feature schema', 'flow-core')
    .addHelpText('after', '\nExample:\n  guardian extract capture.pcap --out flows.csv')
    .action(action<ExtractOptions>(runExtract));
}

/** Writes one chunk for the head of the file, and one for a flow with its features. */
interface FlowWriter {
  head(features: readonly string[]): string;
  row(flow: FlowRecord, features: Record<string, string | number | null>): string;
}

const WRITERS: Readonly<Record<string, FlowWriter>> = {
  '.csv': {
    // A flow and its features share names: the raw count, and the value a model sees.
    head: (features) => `${[...FLOW_CSV_COLUMNS, ...features.map((name) => `feature_${name}`)].join(',')}\n`,
    row: (flow, features) =>
      `${[...flowToCsvRow(flow), ...Object.values(features).map((value) => value ?? '')].join(',')}\n`,
  },
  '.jsonl': {
    head: () => '',
    row: (flow, features) => `${JSON.stringify({ flow, features })}\n`,
  },
};

async function runExtract(context: Context, options: ExtractOptions, source = ''): Promise<undefined> {
  const extension = /\.[a-z]+$/.exec(options.out)?.[0] ?? '';
  const writer = WRITERS[extension];
  if (writer === undefined) {
    throw new CliError('cli.usage', `expected --out to end in ${Object.keys(WRITERS).join(' or ')}`);
  }
  await refuseExisting(options.out);
  const loaded = await loadSchema(options.schema);
  const extractor = new FlowExtractor(loaded);
  const { columns } = loaded.schema;
  const opened = await openFlowSource(source, context.config.meter);
  const started = performance.now();
  const progress = context.output.progress('extracting');
  const file = createWriteStream(options.out, { flags: 'wx' });
  const failed = once(file, 'error').then(([error]) => Promise.reject(error));
  failed.catch(() => {});
  let rejected = 0;
  try {
    const put = async (text: string) => {
      if (!file.write(text)) await Promise.race([once(file, 'drain'), failed]);
    };
    await put(writer.head(columns.map(({ name }) => name)));
    for await (const flows of opened.batches(context.signal)) {
      const records = flows.records();
      const batch = extractor.extract(records);
      rejected += batch.rejected.length;
      let text = '';
      for (const [row, flow] of records.entries()) {
        const values = batch.values.subarray(row * batch.columns, (row + 1) * batch.columns);
        text += writer.row(
          flow,
          Object.fromEntries(
            columns.map((column, i) => [column.name, shown(column.categories, values[i] as number)]),
          ),
        );
      }
      await put(text);
      progress.update(
        undefined,
        `${count(opened.counters.packets)} packets, ${count(opened.counters.flows)} flows`,
      );
    }
    file.end();
    await Promise.race([once(file, 'finish'), failed]);
    context.signal.throwIfAborted();
  } catch (error) {
    file.destroy();
    await rm(options.out, { force: true });
    throw error;
  } finally {
    progress.done();
  }
  const { packets, bytes, flows, fragments, evicted, ignored, malformed } = opened.counters;
  context.output.line(`${count(packets)} packets, ${count(flows)} flows in ${printable(options.out)}`);
  const counters = { ...malformed, ...ignored };
  if (Object.keys(counters).length > 0) {
    context.output.line(
      table(
        ['not metered', 'count'],
        Object.entries(counters).map(([code, n]) => [printable(code), String(n)]),
      ),
    );
  }
  context.output.object({
    type: 'extract.result',
    packets,
    bytes,
    flows,
    fragments,
    evicted,
    rejected,
    ignored,
    malformed,
    schema: loaded.id,
    seconds: Math.round(performance.now() - started) / 1000,
  });
  return undefined;
}

/** A category by its name, a missing value as nothing. */
function shown(categories: readonly string[] | undefined, value: number): string | number | null {
  if (Number.isNaN(value)) return null;
  return categories?.[value] ?? value;
}
