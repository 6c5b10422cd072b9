import type { Handlers } from './handler.ts';

export const custodyHandlers = {
  'GET /v1/models/:name/versions/:version/lineage': ({ guardian, path }) =>
    guardian.registry.custody.lineage(path.name, path.version),
  'GET /v1/models/:name/versions/:version/bom': ({ guardian, path }) =>
    guardian.registry.custody.bom(path.name, path.version),
  'GET /v1/models/:name/versions/:version/card': async ({ guardian, path }) => ({
    markdown: await guardian.registry.custody.card(path.name, path.version),
  }),
  'POST /v1/models/:name/versions/:version/tags': async ({ guardian, path, body, caller }) => ({
    ...path,
    tags: await guardian.registry.custody.tag(path.name, path.version, body.tags, caller),
  }),
  'POST /v1/models/:name/versions/:version/holds': ({ guardian, path, body, caller }) => {
    const { reason, until } = body;
    const hold = { reason, ...(until === undefined ? {} : { until }) };
    return guardian.registry.custody.hold(path.name, path.version, hold, caller);
  },
  'POST /v1/models/:name/versions/:version/holds/release': async ({ guardian, path, body, caller }) => {
    await guardian.registry.custody.release(path.name, path.version, body, caller);
    return { released: body.hold };
  },
  'POST /v1/models/:name/versions/:version/erase': ({ guardian, path, body, caller }) =>
    guardian.registry.custody.erase(path.name, path.version, body, caller),
  'GET /v1/models/:name/versions/:version/erase': ({ guardian, path, caller }) =>
    guardian.registry.custody.eraseStatus(path.name, path.version, caller),
  'POST /v1/models/:name/prune': ({ guardian, path, body, caller }) => {
    const { keep, keepDays, dryRun } = body;
    return guardian.registry.custody.prune(
      path.name,
      { dryRun, ...(keep === undefined ? {} : { keep }), ...(keepDays === undefined ? {} : { keepDays }) },
      caller,
    );
  },
  'POST /v1/escrow': ({ guardian, caller }) => guardian.registry.custody.escrow(caller),
  'POST /v1/escrow/restore': async ({ guardian, caller }) => ({
    restored: await guardian.registry.custody.restoreEscrow(caller),
  }),
} satisfies Partial<Handlers>;
