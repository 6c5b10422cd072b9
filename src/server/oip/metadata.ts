import { PRODUCT } from '../../alerts/index.ts';
import type { AskedModel } from './infer.ts';
import { INPUT_NAME, OUTPUTS } from './tensors.ts';

/** Extensions of the protocol that are served here. */
export const EXTENSIONS = ['binary_tensor_data', 'model_repository', 'statistics'] as const;

export function serverMetadata() {
  return { name: 'ai-guardian', version: PRODUCT.version, extensions: [...EXTENSIONS] };
}

/** What a caller must know to ask a model, in the protocol's names. */
export function modelMetadata({ model, loaded }: AskedModel) {
  const { columns, name: schema } = loaded.schema;
  return {
    name: model.name,
    versions: [model.version],
    platform: 'ai-guardian_agm',
    inputs: [{ name: INPUT_NAME, datatype: 'FP32', shape: [-1, columns.length] }],
    outputs: OUTPUTS.map(({ name, datatype }) => ({ name, datatype, shape: [-1] })),
    properties: {
      digest: model.digest,
      schema,
      schemaId: model.schemaId,
      columns: columns.map(({ name }) => name).join(','),
      certificate: model.certificate,
    },
  };
}
