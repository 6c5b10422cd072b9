import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseProvider, type GraphSession } from './provider-choice.ts';

/** Costs of a batch by a clock that the sessions themselves move. */
function machine(devices: Readonly<Record<string, { fixed: number; perRow: number; off?: number }>>) {
  let now = 0;
  const open = async (provider: string): Promise<GraphSession> => {
    const device = devices[provider];
    if (device === undefined) throw new TypeError(`no ${provider}`);
    return {
      run: async (_values, rows, given) => {
        now += device.fixed + rows * device.perRow;
        given.fill(0.5 + (device.off ?? 0), 0, rows);
      },
    };
  };
  return { open, now: () => now, columns: 2, batchRows: 1_024, link: 'probability' as const };
}
const CPU = { fixed: 0.1, perRow: 0.01 };

test('a device takes batches from the size on from which it is faster', async () => {
  const question = machine({ cpu: CPU, webgpu: { fixed: 2, perRow: 0.001 } });
  const choice = await chooseProvider({ ...question, candidates: ['cuda', 'webgpu'], isAsked: false });
  assert.equal(choice.provider, 'webgpu');
  assert.equal(choice.fromRows, 1_024);
  assert.deepEqual(
    choice.trials.map(({ provider, refused }) => [provider, refused]),
    [
      ['cuda', 'no cuda'],
      ['webgpu', undefined],
    ],
  );
});

test('one that is faster for single rows takes all, one that never is takes none', async () => {
  const fast = machine({ cpu: CPU, cuda: { fixed: 0.01, perRow: 0.001 } });
  assert.equal((await chooseProvider({ ...fast, candidates: ['cuda'], isAsked: false })).fromRows, 1);
  const slow = machine({ cpu: CPU, cuda: { fixed: 20, perRow: 0.02 } });
  const choice = await chooseProvider({ ...slow, candidates: ['cuda'], isAsked: false });
  assert.equal(choice.provider, 'cpu');
  assert.equal(choice.device, undefined);
  assert.match(choice.trials[0]?.refused ?? '', /slower/);
});

test('one that was asked for is used although it is slower, and never where it differs', async () => {
  const slow = machine({ cpu: CPU, cuda: { fixed: 20, perRow: 0.02 } });
  const asked = await chooseProvider({ ...slow, candidates: ['cuda'], isAsked: true });
  assert.deepEqual([asked.provider, asked.fromRows], ['cuda', 1]);
  for (const off of [2e-5, Number.NaN]) {
    const wrong = machine({ cpu: CPU, cuda: { fixed: 0, perRow: 0, off } });
    const choice = await chooseProvider({ ...wrong, candidates: ['cuda'], isAsked: true });
    assert.equal(choice.provider, 'cpu');
    assert.match(choice.trials[0]?.refused ?? '', /differs from the CPU/);
  }
});

test('what the runtime says of a provider is told without where in its own source it says so', async () => {
  const says =
    '/onnxruntime_src/onnxruntime/core/webgpu_context.cc:136 onnxruntime::webgpu::WebGpuContext::Initialize(const ' +
    'Config&)::<lambda()> adapter_result.status == Success was false. Failed to get a WebGPU adapter: none\n';
  const { open, ...question } = machine({ cpu: CPU });
  const failing = async (provider: string) => {
    if (provider === 'cpu') return await open(provider);
    throw new TypeError(says);
  };
  const asked = { ...question, open: failing, candidates: ['webgpu'], isAsked: true };
  const { provider, trials } = await chooseProvider(asked);
  assert.equal(provider, 'cpu');
  assert.equal(trials[0]?.refused, 'Failed to get a WebGPU adapter: none');
});
