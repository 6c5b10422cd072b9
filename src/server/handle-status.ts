import { PRODUCT } from '../alerts/index.ts';
import { GuardianError } from '../base/index.ts';
import type { LoadedModel } from '../inference/index.ts';
import type { Handlers, ServedGuardian } from './handler.ts';
import { openApiDocument } from './openapi.ts';
import { statusPage } from './page.ts';
import { recentErrors } from './recent-errors.ts';

export const statusHandlers = {
  'GET /': ({ reply }) => statusPage(reply),
  'GET /openapi.json': () => openApiDocument(),
  'GET /metrics': async ({ guardian, reply }) => {
    const text = await guardian.metrics.text();
    return reply.header('content-type', guardian.metrics.contentType).send(text);
  },
  'GET /v1/status': async ({ guardian }) => ({
    name: PRODUCT.name,
    version: PRODUCT.version,
    node: process.version,
    modelName: guardian.modelName,
    models: loadedModels(guardian),
    dependencies: guardian.dependencies,
    inference: guardian.engine.stats,
    detections: guardian.detections.stats,
    notices: guardian.notices.stats,
    audit: { size: guardian.log.size },
    // A reading the system does not give is NaN, which JSON tells as null.
    reading: guardian.monitor.reading ?? guardian.monitor.tick(),
    throttle: guardian.monitor.throttle,
    storage: await storageHealth(guardian),
  }),
  'GET /v1/errors': ({ guardian }) => ({ errors: recentErrors(guardian) }),
  'GET /v1/config': ({ guardian }) => ({
    values: guardian.config,
    origins: Object.fromEntries(guardian.origins),
  }),
} satisfies Partial<Handlers>;

/** A pool that cannot be asked is told as one that fails: the status is wanted most then. */
async function storageHealth({ blobs }: ServedGuardian): Promise<unknown> {
  return await blobs.health().catch((error: unknown) => ({
    kind: blobs.kind,
    verdict: 'failing',
    reason: error instanceof GuardianError ? error.code : 'unknown',
  }));
}

/** Every model in place, by name. */
export function loadedModels(guardian: ServedGuardian): readonly LoadedModel[] {
  return guardian.engine.names().flatMap((name) => guardian.engine.current(name) ?? []);
}
