import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import { Socket } from 'node:net';
import { setPriority } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { InferenceSession, Tensor } from 'onnxruntime-node';
import {
  FRAMES,
  type FrameHead,
  type FrameKind,
  FrameReader,
  frameOf,
  HEADER_BYTES,
  type RuntimeFacts,
  type RuntimeSettings,
  writeHead,
} from './frames.ts';
import { chooseProvider, type GraphSession, type ProviderChoice } from './provider-choice.ts';

/**
 * The process that computes one foreign graph. It gets settings and the graph's bytes over a pipe, never a path, then one batch at
 * a time. Rows are wiped once they are scored: here, not inside the runtime's own scratch memory. Arguments: where
 * onnxruntime-node lies.
 */

type Runtime = typeof import('onnxruntime-node');

const PIPE = 3;
const LIFELINE = 4;
/** Graphs of the largest size, and rows of the largest batch. */
const MAX_BYTES = 2 ** 32 - 1;
/** What may be faster than the CPU, in the order in which it is tried. */
const DEVICES = ['cuda', 'coreml', 'webgpu'];
const SILENT = 4;

new Worker(new URL('./lifeline.ts', import.meta.url), { workerData: { fd: LIFELINE }, env: {} });

let settings: RuntimeSettings | undefined;
let choice: ProviderChoice<OnnxSession> | undefined;
let answer = new Uint8Array(HEADER_BYTES);

const reader = new FrameReader(MAX_BYTES, (head, content) => {
  carryOut(head, content)
    .catch((error: unknown) => say(FRAMES.failed, { message: describe(error) }, head.id))
    .finally(() => {
      // The graph may be on its way already when the settings have been read.
      if (head.kind !== FRAMES.settings) reader.wipe(head.kind === FRAMES.graph);
    });
});
const received = Buffer.alloc(65_536);
const pipe: Socket = new Socket({
  fd: PIPE,
  onread: {
    buffer: received,
    callback: (size: number) => {
      reader.push(received.subarray(0, size));
      received.fill(0, 0, size);
      return true;
    },
  },
} as ConstructorParameters<typeof Socket>[0]);
pipe.on('error', () => process.kill(process.pid, 'SIGKILL'));

/** One provider's session of the graph. */
class OnnxSession implements GraphSession {
  readonly #runtime: Runtime;
  readonly #session: InferenceSession;
  readonly #settings: RuntimeSettings;

  constructor(runtime: Runtime, session: InferenceSession, wanted: RuntimeSettings) {
    this.#runtime = runtime;
    this.#session = session;
    this.#settings = wanted;
  }

  async run(values: Float32Array, rows: number, given: Float32Array): Promise<void> {
    const { columns, output } = this.#settings;
    const [input = ''] = this.#session.inputNames;
    const tensor = new this.#runtime.Tensor('float32', values.subarray(0, rows * columns), [rows, columns]);
    const outputs = await this.#session.run({ [input]: tensor }, [output.name]);
    takeColumn(outputs[output.name], rows, output.column, given);
  }
}

async function carryOut(head: FrameHead, content: Uint8Array): Promise<void> {
  if (head.kind === FRAMES.settings) {
    settings = JSON.parse(new TextDecoder().decode(content)) as RuntimeSettings;
    setPriority(settings.niceness);
  } else if (head.kind === FRAMES.graph && settings !== undefined) {
    say(FRAMES.ready, await load(content, settings));
  } else if (head.kind === FRAMES.score && settings !== undefined && choice !== undefined) {
    await score(head, content, settings.columns);
  }
}

async function load(graph: Uint8Array, wanted: RuntimeSettings): Promise<RuntimeFacts> {
  // No path is built from anything that came over the pipe.
  const runtime = createRequire(import.meta.url)(process.argv[2] ?? 'onnxruntime-node') as Runtime;
  const digest = createHash('sha256').update(graph).digest('hex');
  const has = new Set(runtime.listSupportedBackends().map(({ name }) => name));
  const { provider, columns, batchRows, threads } = wanted;
  const asked = provider === 'auto' ? DEVICES : [provider];
  const open = async (name: string) => {
    const session = await runtime.InferenceSession.create(graph, {
      executionProviders: [name],
      ...{ intraOpNumThreads: threads, interOpNumThreads: 1, logSeverityLevel: SILENT },
    });
    return new OnnxSession(runtime, session, wanted);
  };
  const made = await chooseProvider({
    ...{ open, columns, batchRows, link: wanted.output.link, now: () => performance.now() },
    candidates: asked.filter((name) => name !== 'cpu' && (provider !== 'auto' || has.has(name))),
    isAsked: provider !== 'auto',
  });
  choice = made;
  return { digest, provider: made.provider, fromRows: made.fromRows, trials: made.trials };
}

async function score({ id, rows }: FrameHead, content: Uint8Array, columns: number): Promise<void> {
  const made = choice as ProviderChoice<OnnxSession>;
  const values = new Float32Array(content.buffer, content.byteOffset, rows * columns);
  const bytes = rows * 4;
  if (answer.length < HEADER_BYTES + bytes) answer = new Uint8Array(HEADER_BYTES + bytes);
  const given = new Float32Array(answer.buffer, HEADER_BYTES, rows);
  if (made.device !== undefined && rows >= made.fromRows) {
    try {
      await made.device.run(values, rows, given);
    } catch (error) {
      // A device that was right once and fails now is lost; the CPU goes on.
      choice = { provider: 'cpu', cpu: made.cpu, fromRows: 1, trials: made.trials };
      say(FRAMES.note, { provider: 'cpu', refused: describe(error) });
      await made.cpu.run(values, rows, given);
    }
  } else await made.cpu.run(values, rows, given);
  const residentKib = Math.round(process.memoryUsage.rss() / 1024);
  writeHead(answer, { kind: FRAMES.scored, id, rows, bytes, residentKib });
  pipe.write(answer.subarray(0, HEADER_BYTES + bytes));
}

function takeColumn(tensor: Tensor | undefined, rows: number, column: number, given: Float32Array): void {
  const data = tensor?.data;
  const isFloat = data instanceof Float32Array || data instanceof Float64Array;
  const width = isFloat ? data.length / rows : 0;
  if (!isFloat || !Number.isInteger(width) || column >= width) {
    throw new TypeError(`the output has the shape ${tensor?.dims.join(' x ')} for ${rows} rows`);
  }
  for (let row = 0; row < rows; row++) given[row] = data[row * width + column] as number;
}

function say(kind: FrameKind, what: object, id = 0): void {
  pipe.write(frameOf(kind, JSON.stringify(what), id));
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message.slice(0, 500) : 'no message';
}
