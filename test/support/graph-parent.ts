import { GraphRuntime, RUNTIME_DEFAULTS } from '../../src/inference/index.ts';
import { graphModel, trees } from './graph-model.ts';

/** Opens a foreign graph, says the number of its process, and stays until it is killed. */
const runtime = await GraphRuntime.open(graphModel(trees(1).model), {
  batchRows: 1,
  config: { ...RUNTIME_DEFAULTS, provider: 'cpu' },
});
process.stdout.write(`${runtime.report.pid}`);
setInterval(() => {}, 60_000);
