import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { createLogger, Metrics } from '../base/index.ts';
import type { Engine, GpuReport } from '../inference/index.ts';
import { noteGpu, observeGpu } from './gpu-notes.ts';

const REPORT: GpuReport = {
  ...{ state: 'in-use', adapter: 'a card', reason: undefined },
  ...{ budgetBytes: 100, memoryBytes: 60, evicted: 2, fallbacks: 1, losses: 3 },
  ...{ rows: 900, again: 5, control: 4 },
  models: [
    { model: 'flow@1.0.0', fromRows: 2_000, tableBytes: 40, band: 0 },
    { model: 'other@1.0.0', fromRows: Number.POSITIVE_INFINITY, tableBytes: 20, band: 0 },
  ],
};

suite('what is told of a GPU', () => {
  test('counts models and rows by provider, and what became of the device', async () => {
    const metrics = new Metrics();
    const engine = { gpu: REPORT, graphs: [], names: () => ['flow', 'other'], stats: { rows: 1_000 } };
    observeGpu(metrics, engine as unknown as Engine);
    const text = await metrics.text();
    for (const line of [
      'guardian_inference_provider{provider="webgpu"} 1',
      'guardian_inference_provider{provider="cpu"} 1',
      'guardian_inference_rows_total{provider="cpu"} 100',
      'guardian_inference_rows_total{provider="webgpu"} 900',
      'guardian_inference_gpu_rows_again_total{why="cut"} 5',
      'guardian_inference_gpu_memory_bytes 60',
      'guardian_inference_gpu_events_total{event="evicted"} 2',
      'guardian_inference_gpu_events_total{event="lost"} 3',
    ]) {
      assert.ok(text.includes(`${line}\n`), line);
    }
  });

  test('warns of a device that is lost or wrong, and of none only where one was asked for', () => {
    const lines: { level: string; code?: string; state: string }[] = [];
    const logger = createLogger({ level: 'info', write: (line) => lines.push(JSON.parse(line)) });
    noteGpu(logger, 'auto')({ state: 'in-use', adapter: 'a card' });
    noteGpu(logger, 'auto')({ state: 'lost', reason: 'reset' });
    noteGpu(logger, 'auto')({ state: 'wrong', reason: 'differs' });
    noteGpu(logger, 'auto')({ state: 'unused', reason: 'no adapter' });
    noteGpu(logger, 'webgpu')({ state: 'unused', reason: 'no adapter' });
    const [info] = lines.map(({ level }) => level);
    assert.deepEqual(
      lines.map(({ level, code, state }) => [state, level === info, code]),
      [
        ['in-use', true, undefined],
        ['lost', false, 'inference.device-lost'],
        ['wrong', false, 'inference.device-wrong'],
        ['unused', true, undefined],
        ['unused', false, undefined],
      ],
    );
  });
});
