import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  watch,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { SeededRandom } from '../../src/base/index.ts';
import { STATE_MAGIC } from '../../src/training/index.ts';
import { SERVICES, SYNTHETIC_SCHEMA, syntheticTable } from './synthetic-table.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
/** A number that stands in every row, and nowhere in the code. */
const CANARY = 731.40625;
const ROWS = 1_000;
/** One kill of so many falls into the start, the others so long after a change. */
const KILLS_OF_STARTS = 0.15;
const START_MS = 1_000;
const STEP_MS = 20;

/** Trees, made-up rows, a forest, a network and kinds: every sort of step, in moments. */
const CONFIGURATION = {
  training: {
    ...{ rounds: 8, maxLeaves: 6, kinds: true, kindRounds: 4, minKindRows: 5 },
    hybrid: {
      known: { rounds: 8, maxLeaves: 6 },
      ...{ draws: 2, normals: 300, attacksPerType: 20, forestTrees: 10, forestSample: 64 },
      ...{ autoencoder: [6, 3, 6], autoencoderEpochs: 4 },
    },
  },
  checkpoints: { everyRounds: 1, maxShare: 1 },
};

export interface TrainingKillsResult {
  readonly kills: number;
  /** Kills that left no checkpoint: before the first one, or after the last was removed. */
  readonly withoutCheckpoint: number;
  /** Runs that ended by themselves, resumed at least once or not; all gave the one digest. */
  readonly finished: number;
  readonly finishedResumed: number;
  readonly digest: string;
  /** Trees and fitted parts that finished runs took from checkpoints. */
  readonly stepsResumed: number;
  /** Searches for the canaries, files and bytes searched, and deleted files among them that a process held open. */
  readonly searches: number;
  readonly files: number;
  readonly bytes: number;
  readonly deletedFiles: number;
}

type Tally = { -readonly [K in keyof TrainingKillsResult]: TrainingKillsResult[K] };

/**
 * Trains on sealed data again and again, `kill -9` at a drawn time, resumes, and holds the model that comes of it against
 * that of a run without a break. After each kill nothing that the process left may hold a number of the data or the first
 * words of a checkpoint.
 */
export async function killTraining(options: {
  readonly seed: number;
  readonly kills: number;
  readonly onKill?: (done: number) => void;
}): Promise<TrainingKillsResult> {
  const folder = mkdtempSync(join(tmpdir(), 'training-kills-'));
  const tally: Tally = {
    ...{ kills: 0, withoutCheckpoint: 0, finished: 0, finishedResumed: 0, digest: '', stepsResumed: 0 },
    ...{ searches: 0, files: 0, bytes: 0, deletedFiles: 0 },
  };
  try {
    const site = new Site(folder, tally);
    await site.sealData();
    const whole = site.train(false);
    tally.digest = (await whole.result).digest;
    const random = new SeededRandom(options.seed);
    while (tally.kills < options.kills) {
      // By what it has written, not by time: machines are busy or not. A little later, to fall anywhere in a step.
      const isEarly = random.chance(KILLS_OF_STARTS);
      const run = site.train(existsSync(site.checkpoint));
      const isKilled = await run.killAfter({
        changes: isEarly ? 0 : random.integer(1, whole.changes()),
        delayMs: random.uniform(0, isEarly ? START_MS : STEP_MS),
      });
      site.search();
      if (!isKilled) continue;
      tally.kills++;
      options.onKill?.(tally.kills);
      if (!existsSync(site.checkpoint)) tally.withoutCheckpoint++;
    }
    await site.train(existsSync(site.checkpoint)).result;
    site.search();
    assert.deepEqual(readdirSync(join(site.checkpoint, '..')), [], 'no checkpoint is left');
    return tally;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Trained {
  readonly digest: string;
  readonly checkpoints: { readonly resumed: number; readonly failed: number };
}

/** One state folder, working folder and temporary folder, and what is searched for in them. */
class Site {
  readonly checkpoint: string;
  readonly #folder: string;
  readonly #searched: string;
  readonly #tally: Tally;
  readonly #canaries: readonly Buffer[];

  constructor(folder: string, tally: Tally) {
    this.#folder = folder;
    this.#tally = tally;
    this.#searched = join(folder, 'site');
    this.checkpoint = join(this.#searched, 'state', 'checkpoints', 'm.sealed');
    for (const name of ['work', 'tmp', 'config', 'state/checkpoints']) {
      mkdirSync(join(this.#searched, name), { recursive: true, mode: 0o700 });
    }
    const numbers = [Buffer.alloc(4), Buffer.alloc(8)] as const;
    numbers[0].writeFloatLE(CANARY);
    numbers[1].writeDoubleLE(CANARY);
    this.#canaries = [...numbers, Buffer.from(String(CANARY)), Buffer.from(STATE_MAGIC.trim())];
  }

  /** Writes a table in the clear, seals it, and removes it. */
  async sealData(): Promise<void> {
    const { rows, columns, values, typeIndex } = syntheticTable(ROWS, 11);
    const lines = Array.from({ length: rows }, (_, r) => {
      const [a = 0, b = 0, service = 0, noise = 0] = values.subarray(r * columns);
      const kind = ['normal', 'flood', 'tunnel'][typeIndex[r] as number];
      return `${Number.isNaN(a) ? 0 : a},${b},${SERVICES[service]},${noise},${CANARY},${kind}`;
    });
    const plain = join(this.#searched, 'work', 'data.csv');
    writeFileSync(plain, ['a,b,service,noise,constant,label', ...lines, ''].join('\n'));
    writeFileSync(join(this.#searched, 'work', 'schema.json'), JSON.stringify(SYNTHETIC_SCHEMA.schema));
    writeFileSync(join(this.#searched, 'config', 'guardian.yaml'), JSON.stringify(CONFIGURATION));
    assert.throws(() => this.search(), /data\.csv/, 'the search finds what is there');
    const child = this.#start(['data', 'seal', 'data.csv', '--out', 'data.sealed']);
    const [code] = (await once(child, 'close')) as [number];
    assert.equal(code, 0);
    rmSync(plain);
    this.search();
  }

  train(isResumed: boolean) {
    const resume = isResumed ? ['--resume'] : [];
    const child = this.#start([
      ...['train', 'data.sealed', '--schema', 'schema.json', '--name', 'm', '--seed', '5'],
      ...resume,
    ]);
    let said = '';
    let complaints = '';
    child.stdout?.on('data', (chunk: Buffer) => (said += chunk));
    child.stderr?.on('data', (chunk: Buffer) => (complaints += chunk));
    const closed = once(child, 'close') as Promise<[number | null, string | null]>;
    const result = closed.then(([code]) => {
      // A gate may fail on so small a table; the model is published all the same.
      assert.ok(code === 0 || code === 1, `ended with ${code}: ${complaints}`);
      const last = said.trim().split('\n').at(-1) ?? '';
      assert.ok(last.startsWith('{'), `ended with ${code} and no result: ${complaints}`);
      const trained = JSON.parse(last) as Trained;
      if (this.#tally.digest !== '') assert.equal(trained.digest, this.#tally.digest);
      assert.equal(trained.checkpoints.failed, 0);
      assert.ok(!existsSync(this.checkpoint), 'the checkpoint is gone');
      this.#tally.finished++;
      if (isResumed) this.#tally.finishedResumed++;
      this.#tally.stepsResumed += trained.checkpoints.resumed;
      return trained;
    });
    result.catch(() => {});
    let changes = 0;
    let wake = () => {};
    const watcher = watch(dirname(this.checkpoint), () => {
      changes++;
      wake();
    });
    void closed.then(() => watcher.close());
    const changed = async (count: number) => {
      while (changes < count) await new Promise<void>((resolve) => (wake = resolve));
    };
    return {
      result,
      /** Files made, renamed and removed beside the checkpoint. */
      changes: () => changes,
      killAfter: (when: { readonly changes: number; readonly delayMs: number }) => {
        const due = changed(when.changes).then(() => sleep(when.delayMs));
        return this.#kill(child, { closed, result, due });
      },
    };
  }

  /** Stops the process, looks at what it holds open, and kills it. False where it had ended before. */
  async #kill(
    child: ChildProcess,
    run: {
      readonly closed: Promise<[number | null, string | null]>;
      readonly result: Promise<Trained>;
      readonly due: Promise<void>;
    },
  ): Promise<boolean> {
    const isDue = await Promise.race([run.closed.then(() => false), run.due.then(() => true)]);
    if (isDue && child.exitCode === null) {
      child.kill('SIGSTOP');
      this.#searchOpenFiles(child.pid as number);
      child.kill('SIGKILL');
    }
    const [, signal] = await run.closed;
    if (signal === 'SIGKILL') return true;
    await run.result;
    return false;
  }

  /** Throws where a canary is found, naming the file. */
  search(): void {
    this.#tally.searches++;
    for (const entry of readdirSync(this.#searched, { recursive: true, withFileTypes: true })) {
      if (entry.isFile()) this.#searchFile(join(entry.parentPath, entry.name));
    }
  }

  /** Files that were deleted and are still open; and whether a crash could write the memory out. */
  #searchOpenFiles(pid: number): void {
    if (process.platform !== 'linux') return;
    const root = `/proc/${pid}`;
    let ownsState = false;
    for (const fd of readdirSync(`${root}/fd`)) {
      const path = join(root, 'fd', fd);
      let target = '';
      try {
        target = readlinkSync(path);
      } catch {
        continue;
      }
      if (target.endsWith('guardian.db')) ownsState = true;
      if (!target.startsWith('/') || !target.endsWith(' (deleted)') || target.startsWith('/dev')) continue;
      this.#tally.deletedFiles++;
      this.#searchFile(path, target);
    }
    if (ownsState) assert.match(readFileSync(`${root}/coredump_filter`, 'utf8'), /^0+\s*$/);
  }

  #searchFile(path: string, name = path): void {
    const bytes = readFileSync(path);
    this.#tally.files++;
    this.#tally.bytes += bytes.length;
    for (const canary of this.#canaries)
      assert.ok(!bytes.includes(canary), `${name} holds a canary in the clear`);
  }

  #start(args: readonly string[]): ChildProcess {
    return spawn(process.execPath, [MAIN, '--json', '--state', join(this.#searched, 'state'), ...args], {
      cwd: join(this.#searched, 'work'),
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: process.env.PATH ?? '',
        HOME: this.#searched,
        TMPDIR: join(this.#searched, 'tmp'),
        XDG_CONFIG_HOME: join(this.#searched, 'home'),
        GUARDIAN_CONFIG: join(this.#searched, 'config', 'guardian.yaml'),
        // It holds the code's own texts, so it is not searched.
        NODE_COMPILE_CACHE: join(this.#folder, 'compiled'),
      },
    });
  }
}
