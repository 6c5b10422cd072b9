import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import type { Socket } from 'node:net';
import { dirname, parse, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Milliseconds } from '../../base/index.ts';
import type { GraphModel } from '../../models/index.ts';
import { InferenceError } from '../errors.ts';
import type { RuntimeConfig } from './config.ts';
import {
  FRAMES,
  type FrameHead,
  FrameReader,
  frameOf,
  HEADER_BYTES,
  type RuntimeFacts,
  type RuntimeSettings,
  writeHead,
} from './frames.ts';
import { limitMemory, type MemoryLimit, residentBytes } from './memory-limit.ts';

export interface GraphProcessOptions {
  readonly config: RuntimeConfig;
  /** Rows of a batch at most. */
  readonly batchRows: number;
  /** Called once, when the process has ended, however that came. */
  readonly onEnd: (process: GraphProcess) => void;
  /** Stands for `/` where control groups are looked for. */
  readonly root?: string | undefined;
  /** Name of the package; another in tests. */
  readonly runtime?: string | undefined;
}

interface Pending {
  readonly id: number;
  readonly rows: number;
  readonly given: Float32Array;
  readonly resolve: () => void;
  readonly reject: (error: InferenceError) => void;
}

/** To load a graph and to try what else could compute it. */
const START_MS: Milliseconds = 60_000;
const WATCH_MS: Milliseconds = 25;
const TEXT_BYTES = 65_536;
const MAX_HEAP_MIB = 256;
const NAME = 'onnxruntime-node';
/** Of the environment, a driver of a device may need these; nothing else is handed on. */
const PASSED_ON = [
  ...['LD_LIBRARY_PATH', 'CUDA_VISIBLE_DEVICES', 'VK_DRIVER_FILES', 'VK_ICD_FILENAMES', 'XDG_RUNTIME_DIR'],
  ...['SystemRoot', 'TMPDIR'],
];

/** One process that computes one graph, from its start to its end. Takes one batch at a time. */
export class GraphProcess {
  /** Resolves when the graph is loaded; rejects `inference.runtime-lost`, `.model-failed`, `.timeout`. */
  readonly ready: Promise<RuntimeFacts>;
  readonly #child: ChildProcess;
  readonly #pipe: Socket;
  readonly #model: GraphModel;
  readonly #options: GraphProcessOptions;
  readonly #reader: FrameReader;
  readonly #limit: MemoryLimit;
  readonly #ended: Promise<void>;
  readonly #notes: string[] = [];
  #started: PromiseWithResolvers<RuntimeFacts> | undefined = Promise.withResolvers();
  #pending: Pending | undefined;
  #send = new Uint8Array(0);
  #nextId = 1;
  #isEnded = false;
  #why = '';
  #timer: NodeJS.Timeout | undefined;
  #watch: NodeJS.Timeout | undefined;
  #residentKib = 0;

  /** Throws `inference.runtime-missing`. */
  constructor(model: GraphModel, options: GraphProcessOptions) {
    const { config, batchRows, root } = options;
    const runtime = findRuntime(options.runtime ?? NAME);
    this.#model = model;
    this.#options = options;
    this.#reader = new FrameReader(Math.max(TEXT_BYTES, batchRows * 4), (head, content) =>
      this.#take(head, content),
    );
    this.ready = (this.#started as PromiseWithResolvers<RuntimeFacts>).promise;
    this.ready.catch(() => {});
    this.#child = spawn(process.execPath, [...permissions(runtime), childPath(), runtime], {
      cwd: parse(process.execPath).root,
      env: environment(),
      stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
      windowsHide: true,
    });
    this.#pipe = this.#child.stdio[3] as Socket;
    const lifeline = this.#child.stdio[4] as Socket;
    for (const each of [this.#pipe, lifeline]) each.on('error', () => {});
    lifeline.unref();
    this.#ended = new Promise((resolve) => {
      const end = (why: string) => {
        this.#end(why);
        resolve();
      };
      this.#child.once('exit', (code, signal) => end(signal ?? `exit code ${code}`));
      this.#child.once('error', (error) => end(error.message));
    });
    this.#limit =
      this.#child.pid === undefined
        ? { kind: 'watch', end: () => {} }
        : limitMemory(this.#child.pid, config.memoryBytes, root);
    this.#pipe.on('data', (chunk: Buffer) => this.#hear(chunk));
    this.#begin();
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** As it said itself with the last batch. */
  get residentKib(): number {
    return this.#residentKib;
  }

  /** How its memory is held. */
  get limit(): MemoryLimit['kind'] {
    return this.#limit.kind;
  }

  /** What it told of a provider that failed while it ran. */
  get notes(): readonly string[] {
    return this.#notes;
  }

  /**
   * One number a row into `given`. The values are copied at once, and the copy is wiped when the answer is there. Rejects
   * `inference.runtime-lost`, `.timeout` (then the process has been ended), `.model-failed`.
   */
  score(values: Float32Array, rows: number, given: Float32Array): Promise<void> {
    if (this.#isEnded) return Promise.reject(this.#lost());
    const bytes = rows * this.#model.columnNames.length * 4;
    if (this.#send.length < HEADER_BYTES + bytes) this.#send = new Uint8Array(HEADER_BYTES + bytes);
    const id = this.#nextId;
    this.#nextId = (id + 1) >>> 0;
    writeHead(this.#send, { kind: FRAMES.score, id, rows, bytes, residentKib: 0 });
    this.#send.set(new Uint8Array(values.buffer, values.byteOffset, bytes), HEADER_BYTES);
    return new Promise((resolve, reject) => {
      this.#pending = { id, rows, given, resolve, reject };
      this.#keepWatch(this.#options.config.deadlineMs);
      this.#pipe.write(this.#send.subarray(0, HEADER_BYTES + bytes));
    });
  }

  /** Ends it at once, whatever it does. */
  kill(why: string): void {
    this.#why ||= why;
    this.#child.kill('SIGKILL');
  }

  /** The same; resolves when it is gone. */
  async end(): Promise<void> {
    this.kill('it was closed');
    // Whoever awaits its end waits for it, though nothing else is to be done.
    if (!this.#isEnded) this.#child.ref();
    await this.#ended;
  }

  #begin(): void {
    const { config, batchRows } = this.#options;
    const { columns, output, graph } = this.#model.parts;
    const { provider, threads, niceness } = config;
    const settings: RuntimeSettings = {
      ...{ provider, threads, niceness, batchRows, output },
      columns: columns.length,
    };
    this.#keepWatch(START_MS);
    this.#pipe.write(frameOf(FRAMES.settings, JSON.stringify(settings)));
    this.#pipe.write(frameOf(FRAMES.graph, graph));
  }

  /** Native code that went wrong may say anything. */
  #hear(chunk: Buffer): void {
    try {
      if (this.#reader.push(chunk)) return;
    } catch {
      // Text that is no JSON.
    }
    this.kill('it did not keep to the form');
  }

  #take(head: FrameHead, content: Uint8Array): void {
    if (head.kind === FRAMES.ready) {
      this.#loaded(content);
      return;
    }
    if (head.kind === FRAMES.note) {
      this.#notes.push(new TextDecoder().decode(content));
      return;
    }
    const pending = this.#pending;
    if (head.kind === FRAMES.failed) {
      const error = new InferenceError('inference.model-failed', `the runtime said: ${messageIn(content)}`);
      this.#rest();
      if (this.#started !== undefined) {
        this.#started.reject(error);
        this.#started = undefined;
        this.kill('it could not load the graph');
      } else pending?.reject(error);
      return;
    }
    const isAnswer = head.kind === FRAMES.scored && head.id === pending?.id && head.rows === pending.rows;
    if (pending === undefined || !isAnswer || head.bytes !== pending.rows * 4) {
      this.kill('it did not keep to the form');
      return;
    }
    new Uint8Array(pending.given.buffer, pending.given.byteOffset, head.bytes).set(content);
    this.#residentKib = head.residentKib;
    this.#rest();
    if (head.residentKib * 1024 > this.#options.config.memoryBytes) this.kill('it took too much memory');
    pending.resolve();
  }

  #loaded(content: Uint8Array): void {
    const started = this.#started;
    this.#started = undefined;
    this.#rest();
    const facts = JSON.parse(new TextDecoder().decode(content)) as RuntimeFacts;
    const { graph } = this.#model.parts;
    if (facts.digest === createHash('sha256').update(graph).digest('hex')) started?.resolve(facts);
    else {
      started?.reject(
        new InferenceError('inference.model-failed', 'the process has another graph than was sent'),
      );
      this.kill('it has another graph');
    }
  }

  /** While it has something to do: a deadline, and an eye on its memory. The event loop waits for it. */
  #keepWatch(deadlineMs: Milliseconds): void {
    this.#child.ref();
    this.#pipe.ref();
    this.#timer = setTimeout(() => this.kill(`no answer after ${deadlineMs} ms`), deadlineMs);
    this.#watch = setInterval(() => {
      const resident = residentBytes(this.#child.pid ?? 0);
      if (resident !== undefined && resident > this.#options.config.memoryBytes) {
        this.kill('it took too much memory');
      }
    }, WATCH_MS).unref();
  }

  #rest(): void {
    clearTimeout(this.#timer);
    clearInterval(this.#watch);
    this.#pending = undefined;
    this.#send.fill(0);
    this.#child.unref();
    this.#pipe.unref();
  }

  #end(how: string): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#why ||= how;
    this.#limit?.end();
    const pending = this.#pending;
    this.#rest();
    const error = this.#lost();
    this.#started?.reject(error);
    this.#started = undefined;
    pending?.reject(error);
    this.#options.onEnd(this);
  }

  #lost(): InferenceError {
    const isLate = this.#why.startsWith('no answer');
    return new InferenceError(
      isLate ? 'inference.timeout' : 'inference.runtime-lost',
      `the process that computes the model has ended: ${this.#why}`,
    );
  }
}

/** Throws `inference.runtime-missing`. */
function findRuntime(name: string): string {
  try {
    return createRequire(import.meta.url).resolve(name);
  } catch (cause) {
    throw new InferenceError(
      'inference.runtime-missing',
      `the model is a foreign graph, and ${NAME} is not installed: npm install ${NAME}@1.30.0`,
      { cause },
    );
  }
}

function childPath(): string {
  const isSource = import.meta.url.endsWith('.ts');
  return fileURLToPath(new URL(isSource ? './graph-child.ts' : './graph-child.js', import.meta.url));
}

/**
 * JavaScript in the process may read its own code and the runtime's, and nothing else: no files, no programs, no network. Native code
 * is not bound by this.
 */
function permissions(runtime: string): string[] {
  const at = runtime.lastIndexOf(`${sep}node_modules${sep}`);
  const modules = at === -1 ? dirname(runtime) : runtime.slice(0, at + sep.length + 'node_modules'.length);
  const own = fileURLToPath(new URL('.', import.meta.url));
  return [
    ...['--permission', '--allow-addons', '--allow-worker'],
    ...[`--allow-fs-read=${modules}`, `--allow-fs-read=${own}`],
    ...['--no-warnings', `--max-old-space-size=${MAX_HEAP_MIB}`],
  ];
}

function environment(): Record<string, string> {
  const passed: Record<string, string> = {};
  for (const name of PASSED_ON) {
    const value = process.env[name];
    if (value !== undefined) passed[name] = value;
  }
  return passed;
}

function messageIn(content: Uint8Array): string {
  const { message } = JSON.parse(new TextDecoder().decode(content)) as { message?: unknown };
  return typeof message === 'string' ? message : 'no message';
}
