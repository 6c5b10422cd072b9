import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../../../test/support/free-port.ts';
import { makePython } from '../../../test/support/python-environment.ts';
import { type PinnedProcess, startPinned } from './pinned-process.ts';

export interface MlServer extends PinnedProcess {
  readonly port: number;
}

const ENVIRONMENT = { name: 'mlserver', packages: ['mlserver==1.7.1', 'onnxruntime==1.32.0'] };
const START_MS = 60_000;

/** As its documentation has a runtime of one's own, on one thread of onnxruntime. */
const RUNTIME = `
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse

class OnnxRuntime(MLModel):
    async def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(self.settings.parameters.uri, options, providers=["CPUExecutionProvider"])
        return True

    async def predict(self, payload):
        rows = NumpyCodec.decode_input(payload.inputs[0])
        (probability,) = self._session.run(["probability"], {"features": rows})
        return InferenceResponse(
            id=payload.id, model_name=self.name, model_version=self.version,
            outputs=[NumpyCodec.encode_output("probability", probability)],
        )
`;

/**
 * MLServer on one core with a model in ONNX, scored in the process that answers: with a worker apart the two would share that
 * core. No access log, no compression. Says why where it could not be installed or started.
 */
export async function startMlServer(
  folder: string,
  onnx: Uint8Array,
  options: { readonly core: number; readonly name: string },
): Promise<MlServer | { readonly reason: string }> {
  const python = await makePython(ENVIRONMENT);
  if (typeof python !== 'string') return python;
  const home = join(folder, 'mlserver');
  mkdirSync(home, { recursive: true });
  const [port, grpcPort, metricsPort] = [await freePort(), await freePort(), await freePort()];
  writeFileSync(join(home, 'model.onnx'), onnx);
  writeFileSync(join(home, 'runtime.py'), RUNTIME);
  const settings = {
    ...{ host: '127.0.0.1', http_port: port, grpc_port: grpcPort, metrics_port: metricsPort },
    ...{ debug: false, parallel_workers: 0, gzip_enabled: false },
  };
  writeFileSync(join(home, 'settings.json'), JSON.stringify(settings));
  const model = {
    ...{ name: options.name, implementation: 'runtime.OnnxRuntime' },
    parameters: { uri: join(home, 'model.onnx'), version: '1' },
  };
  writeFileSync(join(home, 'model-settings.json'), JSON.stringify(model));
  const command = [join(python, '..', 'mlserver'), 'start', home];
  const server = startPinned(options.core, command, { cwd: home, environment: { OMP_NUM_THREADS: '1' } });
  let says = '';
  for (const stream of [server.child.stdout, server.child.stderr]) {
    stream?.on('data', (chunk: Buffer) => {
      says = `${says}${chunk}`.slice(-2_000);
    });
  }
  const isReady = () =>
    fetch(`http://127.0.0.1:${port}/v2/models/${options.name}/ready`).then(
      ({ ok }) => ok,
      () => false,
    );
  const until = performance.now() + START_MS;
  while (performance.now() < until && server.child.exitCode === null) {
    if (await isReady()) return { ...server, port };
    await sleep(200);
  }
  await server.stop();
  return { reason: `MLServer did not start: ${says.trim().split('\n').at(-1)}` };
}
