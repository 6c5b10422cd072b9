import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import type { Digest } from '../base/index.ts';
import { type LoadedSchema, readTable } from '../features/index.ts';
import { LabLabels } from '../lab/index.ts';
import { openFlowSource } from '../traffic/index.ts';
import { type LabelledTable, labelFlows } from '../training/index.ts';
import type { Context } from './context.ts';
import { CliError } from './errors.ts';
import { type Extraction, extractionOf } from './extraction.ts';
import { count } from './text.ts';

/** Reads labelled rows: a table by its schema, or a source of flows with a file of labels beside it. */
export async function readLabelledData(
  context: Context,
  schema: LoadedSchema,
  data: string,
  options: {
    readonly labels?: string | undefined;
    readonly command: Extraction['command'];
    /** Gets what was made of a source of flows, for the audit log. */
    readonly extractions: Extraction[];
  },
): Promise<LabelledTable> {
  const { labels, command, extractions } = options;
  const progress = context.output.progress(`reading ${data}`);
  try {
    if (schema.schema.kind === 'table') return await readTable(data, schema, { signal: context.signal });
    if (labels === undefined) {
      throw new CliError(
        'cli.usage',
        `flows need labels: pass --labels FILE, as \`guardian lab\` writes them`,
      );
    }
    const [source, labelled] = [
      await openFlowSource(data, context.config.meter),
      await LabLabels.read(labels),
    ];
    let rejects: Readonly<Record<string, number>> = {};
    const table = await labelFlows({
      batches: source.batches(context.signal),
      schema,
      labelOf: (flow) => labelled.labelOf(flow),
      weightOf: (flow) => labelled.weightOf(flow),
      digest: await digestOf([data, labels]),
      onBatch: (flows) => progress.update(undefined, `${count(flows)} flows`),
      onRejects: (counts) => {
        rejects = counts;
      },
    });
    const complete = !context.signal.aborted;
    extractions.push(extractionOf(source, { command, source: data, schema: schema.id, rejects, complete }));
    return table;
  } finally {
    progress.done();
    context.signal.throwIfAborted();
  }
}

/** Digest over the bytes of several files, one after the other. */
async function digestOf(files: readonly string[]): Promise<Digest> {
  const hash = createHash('sha256');
  for (const file of files) await pipeline(createReadStream(file), hash, { end: false });
  return `sha256:${hash.digest('hex')}`;
}
