import { canonicalJson } from '../crypto/index.ts';
import { type LoadedSchema, schemaBytes } from '../features/index.ts';
import type { GateReport, PublishedVersion, VerifiedModel } from '../registry/index.ts';
import type { AdoptedTrees, TrainingProvenance } from '../training/index.ts';
import { type Api, ApiError } from './api.ts';
import type { Context } from './context.ts';
import { fetchVerified } from './exported-model.ts';

/**
 * The champion that the candidate is held against, or why there is none. One that was trained on other rows of the very
 * same data has seen the rows held out here, and would be flattered.
 */
export async function findChampion(
  context: Context,
  name: string,
  provenance: Pick<TrainingProvenance, 'schemaId' | 'seed' | 'dataDigest'> & {
    readonly configuration: unknown;
  },
): Promise<VerifiedModel | string> {
  let champion: VerifiedModel;
  try {
    champion = await fetchVerified(context, `${name}@champion`);
  } catch (error) {
    if (error instanceof ApiError && UNKNOWN_CHAMPION.has(error.code)) return 'there is none yet';
    throw error;
  }
  const { manifest, version, schemaId } = champion;
  if (schemaId !== provenance.schemaId) return `the champion ${version} has another schema`;
  const isSplitAlike =
    manifest.seed === provenance.seed &&
    SPLIT_FIELDS.every((field) => {
      const [theirs, ours] = [manifest.configuration, provenance.configuration].map(
        (each) => (each as Readonly<Record<string, unknown>> | null)?.[field] ?? null,
      );
      return canonicalJson(theirs) === canonicalJson(ours);
    });
  if (manifest.dataDigest === provenance.dataDigest && !isSplitAlike) {
    return `the champion ${version} was trained on rows held out here; register gate data to compare them`;
  }
  return champion;
}

const UNKNOWN_CHAMPION = new Set(['registry.alias-unknown', 'registry.version-unknown']);
/** What decides which rows of a table are held out, beside the seed. */
const SPLIT_FIELDS = [
  'method',
  'hybrid',
  'split',
  'duplicates',
  'validationFraction',
  'calibrationFraction',
] as const;

/** Publishes over the server's route, wherever the owner of the state is. */
export async function publish(
  api: Api,
  name: string,
  schema: LoadedSchema,
  trained: Pick<AdoptedTrees, 'modelBytes' | 'provenance'>,
  gateReport: GateReport,
): Promise<PublishedVersion> {
  // The registry takes the schema's id from the schema itself.
  const { schemaId: _, ...provenance } = trained.provenance;
  return (await api.call('POST', `/v1/models/${encodeURIComponent(name)}/versions`, {
    model: Buffer.from(trained.modelBytes).toString('base64'),
    schema: Buffer.from(schemaBytes(schema.schema)).toString('base64'),
    gateReport,
    provenance,
  })) as PublishedVersion;
}
