import { createHash } from 'node:crypto';
import type { Digest } from '../base/index.ts';
import { DataFile } from '../crypto/index.ts';
import { type LoadedSchema, readTable } from '../features/index.ts';
import { LabLabels } from '../lab/index.ts';
import { openFlowSource } from '../traffic/index.ts';
import { type LabelledTable, labelFlows } from '../training/index.ts';
import type { Context } from './context.ts';
import { CliError } from './errors.ts';
import { type Extraction, extractionOf } from './extraction.ts';
import { refuseOpened } from './open-source.ts';
import { withSession } from './session.ts';
import { count } from './text.ts';
import { TrainingKeysClient } from './training-keys.ts';

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
  const opened: DataFile[] = [];
  const open = async (path: string): Promise<DataFile> => {
    const file = await DataFile.open(path, (wraps, subject) =>
      withSession(context, ({ api }) => new TrainingKeysClient(api).open('data', subject, wraps)),
    );
    opened.push(file);
    return file;
  };
  try {
    const file = await open(data);
    if (schema.schema.kind === 'table') {
      return await readTable(data, schema, { signal: context.signal, bytes: await file.bytes() });
    }
    if (labels === undefined) {
      throw new CliError(
        'cli.usage',
        `flows need labels: pass --labels FILE, as \`guardian lab\` writes them`,
      );
    }
    const labelsFile = await open(labels);
    const bytes = await file.bytes();
    const labelled = LabLabels.parse(await labelsFile.text());
    const source = await openFlowSource(data, { ...context.config.meter, ...(bytes && { bytes }) });
    if (source.isEndless === true) {
      await refuseOpened(source, 'expected a file of packets or flows: what has no end has no digest');
    }
    let rejects: Readonly<Record<string, number>> = {};
    const table = await labelFlows({
      batches: source.batches(context.signal),
      schema,
      labelOf: (flow) => labelled.labelOf(flow),
      weightOf: (flow) => labelled.weightOf(flow),
      digest: await digestOf([file, labelsFile]),
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
    for (const each of opened) each.close();
    context.signal.throwIfAborted();
  }
}

/** Digest over the bytes of several files, one after the other; of what they hold where they are sealed. */
async function digestOf(files: readonly DataFile[]): Promise<Digest> {
  const hash = createHash('sha256');
  for (const file of files) for await (const chunk of await file.content()) hash.update(chunk);
  return `sha256:${hash.digest('hex')}`;
}
