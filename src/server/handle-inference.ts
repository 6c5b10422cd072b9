import { PRODUCT } from '../alerts/index.ts';
import type { LoadedSchema } from '../features/index.ts';
import type { LoadedModel } from '../inference/index.ts';
import { ServerError } from './errors.ts';
import { unknownModel } from './handle-events.ts';
import type { Handlers, ServedGuardian } from './handler.ts';
import type { InferRequest } from './requests.ts';
import { INPUT_NAME, OUTPUTS, readInput, writeOutputs } from './tensors.ts';

/** Open Inference Protocol, REST; https://github.com/kserve/open-inference-protocol. */
export const inferenceHandlers = {
  'GET /v2': () => ({ name: 'ai-guardian', version: PRODUCT.version, extensions: [] }),
  'GET /v2/health/live': () => ({ live: true }),
  'GET /v2/health/ready': ({ guardian }) => {
    if (guardian.engine.current(guardian.modelName) === undefined) {
      throw new ServerError('server.not-ready', `the model ${guardian.modelName} is not loaded yet`);
    }
    return { ready: true };
  },
  'GET /v2/models/:name': ({ guardian, path }) => describeModel(findModel(guardian, path.name)),
  'GET /v2/models/:name/versions/:version': ({ guardian, path }) =>
    describeModel(findModel(guardian, path.name, path.version)),
  'GET /v2/models/:name/ready': ({ guardian, path }) => readiness(findModel(guardian, path.name)),
  'GET /v2/models/:name/versions/:version/ready': ({ guardian, path }) =>
    readiness(findModel(guardian, path.name, path.version)),
  'POST /v2/models/:name/infer': ({ guardian, path, body }) =>
    infer(guardian, findModel(guardian, path.name), body),
  'POST /v2/models/:name/versions/:version/infer': ({ guardian, path, body }) =>
    infer(guardian, findModel(guardian, path.name, path.version), body),
} satisfies Partial<Handlers>;

interface ServedModel {
  readonly model: LoadedModel;
  readonly loaded: LoadedSchema;
}

/** The model in place, where it has this version. Throws `server.model-unknown`. */
function findModel(guardian: ServedGuardian, name: string, version?: string): ServedModel {
  const model = guardian.engine.current(name);
  const loaded = guardian.schemaOf(name);
  if (model === undefined || loaded === undefined || (version !== undefined && model.version !== version)) {
    throw unknownModel(name, version);
  }
  return { model, loaded };
}

function describeModel({ model, loaded }: ServedModel) {
  return {
    name: model.name,
    versions: [model.version],
    platform: 'ai-guardian_trees',
    inputs: [{ name: INPUT_NAME, datatype: 'FP32', shape: [-1, loaded.schema.columns.length] }],
    outputs: OUTPUTS.map(({ name, datatype }) => ({ name, datatype, shape: [-1] })),
    properties: {
      digest: model.digest,
      schema: loaded.schema.name,
      schemaId: model.schemaId,
      columns: loaded.schema.columns.map(({ name }) => name).join(','),
      certificate: model.certificate,
    },
  };
}

/** The specification's text names the field `ready`; its example says `live`. */
function readiness({ model }: ServedModel) {
  return { name: model.name, version: model.version, ready: true };
}

async function infer(guardian: ServedGuardian, { model, loaded }: ServedModel, body: InferRequest) {
  const { values, rows } = readInput(body.inputs, loaded);
  const scores = await guardian.scoreVectors(model.name, values, rows);
  const outputs = writeOutputs(scores, body.outputs);
  // A batch is scored by one model; a swap between the check and the call shows here.
  const used = scores[0]?.model ?? model;
  return {
    model_name: used.name,
    model_version: used.version,
    ...(body.id !== undefined && { id: body.id }),
    parameters: { digest: used.digest, certificate: scores[0]?.certificate ?? model.certificate },
    outputs,
  };
}
