import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Digest } from '../base/index.ts';
import { type GateReport, VERIFICATION_STEPS } from '../registry/index.ts';
import type { Handlers, ServedGuardian } from './handler.ts';
import { withScratchFolder } from './scratch-folder.ts';

export const modelHandlers = {
  'GET /v1/models': async ({ guardian }) => ({ models: await guardian.registry.list() }),
  'GET /v1/models/:name': ({ guardian, path, query }) =>
    guardian.registry.show(`${path.name}@${query.version}`),
  'GET /v1/models/:name/history': async ({ guardian, path }) => ({
    name: path.name,
    changes: await guardian.registry.history(path.name),
  }),
  'GET /v1/models/:name/verify': async ({ guardian, path, query }) => {
    const { name, version, digest, schemaId, sourceKinds } = await guardian.registry.verify(
      `${path.name}@${query.version}`,
    );
    const steps = Object.keys(VERIFICATION_STEPS);
    return { name, version, digest, schemaId, sourceKinds, verified: true, steps };
  },
  'POST /v1/models/:name/versions': ({ guardian, path, body, caller }) => {
    const { dataDigest, configuration, ...provenance } = body.provenance;
    return guardian.registry.publish(
      {
        name: path.name,
        modelBytes: body.model,
        schemaBytes: body.schema,
        // The registry parses the report and the digests before it believes them.
        gateReport: body.gateReport as unknown as GateReport,
        provenance: { ...provenance, configuration, dataDigest: dataDigest as Digest },
      },
      caller,
      body.version === undefined ? {} : { version: body.version },
    );
  },
  'POST /v1/models/:name/promote': async ({ guardian, path, body, caller }) => {
    const { version } = await guardian.registry.resolve(`${path.name}@${body.version}`);
    return guardian.promote(path.name, version, body.alias, caller);
  },
  'POST /v1/models/import': ({ guardian, body, caller }) => {
    const { name, version, files, keys, certificates } = body;
    return guardian.registry.importFiles(files, keys, caller, {
      rootCertificatesPem: certificates,
      ...(name !== undefined && { name }),
      ...(version !== undefined && { version }),
    });
  },
  'POST /v1/models/:name/approve': async ({ guardian, path, body, caller }) => {
    const { version } = await guardian.registry.resolve(`${path.name}@${body.version}`);
    return guardian.registry.approve(path.name, version, caller);
  },
  'GET /v1/models/:name/gate-data': ({ guardian, path }) => ({
    name: path.name,
    gateData: guardian.registry.gateData(path.name) ?? null,
  }),
  'POST /v1/models/:name/gate-data': ({ guardian, path, body, caller }) => {
    const { path: file, labels, schema } = body;
    const source = { path: file, ...(labels !== undefined && { labels }), schemaBytes: schema };
    return guardian.registry.registerGateData(path.name, source, caller);
  },
  'POST /v1/models/:name/certify': async ({ guardian, path, body, caller }) => {
    const { version: asked, ...terms } = body;
    const { version } = await guardian.registry.resolve(`${path.name}@${asked}`);
    return guardian.certify(path.name, version, terms, caller);
  },
  'GET /v1/models/:name/served': ({ guardian, path, query }) =>
    guardian.registry.servedAt(path.name, query.alias, query.at ?? guardian.clock.now()),
  'POST /v1/models/:name/rollback': ({ guardian, path, body, caller }) =>
    guardian.rollback(path.name, body.alias, caller),
  'GET /v1/models/:name/versions/:version/export': async ({ guardian, path, caller }) => ({
    files: await exportFiles(guardian, `${path.name}@${path.version}`, caller.principal),
  }),
} satisfies Partial<Handlers>;

/** The five files of an export in base64, by name. */
function exportFiles(
  guardian: ServedGuardian,
  reference: string,
  principal: string,
): Promise<Record<string, string>> {
  return withScratchFolder(guardian.stateFolder, async (scratch) => {
    const folder = join(scratch, 'model');
    await guardian.registry.exportTo(reference, folder, { principal });
    const names = await readdir(folder);
    const contents = await Promise.all(names.map((name) => readFile(join(folder, name), 'base64')));
    return Object.fromEntries(names.map((name, i) => [name, contents[i] as string]));
  });
}
