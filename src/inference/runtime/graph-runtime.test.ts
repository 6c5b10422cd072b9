import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { setImmediate, setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { graphModel, hungryGraph, trees } from '../../../test/support/graph-model.ts';
import { type GraphModel, ONNX_NAMES } from '../../models/index.ts';
import { InferenceError } from '../errors.ts';
import { RUNTIME_DEFAULTS, type RuntimeConfig } from './config.ts';
import { GraphRuntime } from './graph-runtime.ts';

const SUPPORT = new URL('../../../test/support/', import.meta.url);
const ROWS = 1_000;
const MIB = 1024 * 1024;
const CPU = { ...RUNTIME_DEFAULTS, provider: 'cpu' as const };
const options = { batchRows: ROWS, config: CPU, root: '/nowhere' };

const isCode = (code: string) => (error: unknown) => error instanceof InferenceError && error.code === code;

function buffers(rows = ROWS) {
  return { probability: new Float32Array(rows), kind: new Int16Array(rows).fill(5) };
}

/** Whether a process is there; one that has ended and is not yet collected counts as gone. */
function isThere(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

/** Opens a runtime for one test. */
async function withRuntime(
  model: GraphModel,
  work: (runtime: GraphRuntime) => Promise<void>,
  config: Partial<RuntimeConfig> = {},
): Promise<void> {
  const runtime = await GraphRuntime.open(model, { ...options, config: { ...CPU, ...config } });
  let pid: number | undefined;
  try {
    await work(runtime);
    pid = runtime.report.pid;
  } finally {
    await runtime.close();
  }
  assert.ok(pid === undefined || !isThere(pid), 'no process is left behind');
}

test('a foreign graph gives in its process what native trees give here', async () => {
  const { model, rows } = trees(ROWS);
  await withRuntime(graphModel(model), async (runtime) => {
    const [ours, theirs] = [buffers(), buffers()];
    model.score(rows, ROWS, ours);
    const given = rows.slice();
    await runtime.score(given, ROWS, theirs);
    let worst = 0;
    for (let r = 0; r < ROWS; r++) {
      worst = Math.max(worst, Math.abs((ours.probability[r] as number) - (theirs.probability[r] as number)));
    }
    assert.ok(worst <= 1e-6, `largest difference ${worst}`);
    assert.ok(theirs.kind.every((kind) => kind === -1));
    assert.deepEqual(given, rows, 'values are only read');
    const { provider, memory, lost, residentBytes } = runtime.report;
    assert.deepEqual({ provider, memory, lost }, { provider: 'cpu', memory: 'watch', lost: 0 });
    assert.ok(residentBytes > 10 * MIB && residentBytes < 512 * MIB);
    await assert.rejects(runtime.score(rows, ROWS + 1, theirs), isCode('inference.bad-batch'));
  });
});

test('log-odds of a graph are calibrated here', async () => {
  const { model, rows } = trees(100);
  const margins = graphModel(model, {
    output: { name: ONNX_NAMES.margin, column: 0, link: 'margin' },
    calibration: model.parts.calibration,
  });
  await withRuntime(margins, async (runtime) => {
    const [ours, theirs] = [buffers(100), buffers(100)];
    model.score(rows, 100, ours);
    await runtime.score(rows, 100, theirs);
    for (let r = 0; r < 100; r++) {
      assert.ok(Math.abs((ours.probability[r] as number) - (theirs.probability[r] as number)) <= 1e-6);
    }
  });
});

test('a killed process loses the batch that it had, and no other', async () => {
  const { model, rows } = trees(ROWS);
  const expected = buffers();
  model.score(rows, ROWS, expected);
  await withRuntime(graphModel(model), async (runtime) => {
    const { pid = 0 } = runtime.report;
    process.kill(pid, 'SIGSTOP');
    const outs = Array.from({ length: 12 }, () => buffers());
    const scoring = Promise.allSettled(outs.map((out) => runtime.score(rows, ROWS, out)));
    await setImmediate();
    process.kill(pid, 'SIGKILL');
    const [first, ...others] = await scoring;
    assert.ok(first?.status === 'rejected' && isCode('inference.runtime-lost')(first.reason));
    for (const [i, each] of others.entries()) {
      assert.equal(each.status, 'fulfilled', `batch ${i + 1}`);
      const { probability = [] } = outs[i + 1] ?? {};
      assert.ok(Math.abs((probability[7] as number) - (expected.probability[7] as number)) <= 1e-6);
    }
    assert.equal(runtime.report.lost, 1);
    assert.notEqual(runtime.report.pid, pid);
  });
});

test('a process that hangs is ended at the deadline, and another goes on', async () => {
  const { model, rows } = trees(10);
  await withRuntime(
    graphModel(model),
    async (runtime) => {
      const out = buffers(10);
      const { pid = 0 } = runtime.report;
      process.kill(pid, 'SIGSTOP');
      await assert.rejects(runtime.score(rows, 10, out), isCode('inference.timeout'));
      assert.ok(!isThere(pid));
      await runtime.score(rows, 10, out);
      assert.ok((out.probability[0] as number) > 0);
    },
    { deadlineMs: 300 },
  );
});

test('a batch that is withdrawn frees its caller at once and the process when it answers', async () => {
  const { model, rows } = trees(10);
  await withRuntime(graphModel(model), async (runtime) => {
    const withdrawn = new AbortController();
    const { pid = 0 } = runtime.report;
    process.kill(pid, 'SIGSTOP');
    const [out, next] = [buffers(10), buffers(10)];
    const scoring = runtime.score(rows, 10, out, withdrawn.signal);
    await setImmediate();
    withdrawn.abort();
    await assert.rejects(scoring, isCode('inference.cancelled'));
    const following = runtime.score(rows, 10, next);
    process.kill(pid, 'SIGCONT');
    await following;
    assert.ok(out.probability.every((p) => p === 0) && next.probability.every((p) => p > 0));
    assert.equal(runtime.report.pid, pid);
  });
});

test('a graph that takes more memory than it may is ended', async () => {
  const { model } = trees(1);
  await withRuntime(
    graphModel(model, { graph: hungryGraph(model.columnNames.length) }),
    async (runtime) => {
      const { pid } = runtime.report;
      const row = new Float32Array(model.columnNames.length);
      const out = buffers(1);
      await runtime.score(row, 1, out);
      row[0] = 4e8;
      await assert.rejects(runtime.score(row, 1, out), (error: unknown) => {
        return isCode('inference.runtime-lost')(error) && /too much memory/.test((error as Error).message);
      });
      row[0] = 1;
      await runtime.score(row, 1, out);
      assert.notEqual(runtime.report.pid, pid);
    },
    { memoryBytes: 256 * MIB },
  );
});

test('bytes that are no graph are refused by the runtime in its process, not here', async () => {
  const { model } = trees(1);
  const { graph } = graphModel(model).parts;
  const broken = graph.slice();
  broken.fill(0xff, 40, 400);
  for (const bytes of [broken, graph.subarray(0, graph.length >> 1), new Uint8Array(0)]) {
    await assert.rejects(
      GraphRuntime.open(graphModel(model, { graph: bytes }), options),
      isCode('inference.model-failed'),
    );
  }
});

test('without the package the error names what to install', async () => {
  const { model } = trees(1);
  await assert.rejects(
    GraphRuntime.open(graphModel(model), { ...options, runtime: 'no-such-runtime' }),
    (error: unknown) =>
      isCode('inference.runtime-missing')(error) &&
      /npm install onnxruntime-node/.test((error as Error).message),
  );
});

test('what the machine has is tried, and the CPU goes on where it fails', async (t) => {
  const { model, rows } = trees(ROWS);
  const expected = buffers();
  model.score(rows, ROWS, expected);
  for (const provider of ['auto', 'cuda'] as const) {
    await withRuntime(
      graphModel(model),
      async (runtime) => {
        const out = buffers();
        await runtime.score(rows, ROWS, out);
        const { provider: chosen, trials } = runtime.report;
        t.diagnostic(JSON.stringify({ asked: provider, chosen, trials }));
        if (chosen === 'cpu') assert.ok(trials.every(({ refused }) => refused !== undefined));
        for (let r = 0; r < ROWS; r++) {
          assert.ok(Math.abs((out.probability[r] as number) - (expected.probability[r] as number)) <= 1e-5);
        }
      },
      { provider },
    );
  }
});

test('no process outlives a parent that was killed', async () => {
  const parent = spawn(process.execPath, [fileURLToPath(new URL('graph-parent.ts', SUPPORT))], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [said] = (await once(parent.stdout, 'data')) as [Buffer];
  const pid = Number(said);
  assert.ok(isThere(pid));
  parent.kill('SIGKILL');
  await once(parent, 'exit');
  // It is nobody's child any longer, so nobody is told of its end.
  while (isThere(pid)) await setTimeout(10);
});
