import { join } from 'node:path';
import { writeFileAtomic } from '../base/index.ts';
import type { AliasChange, VersionDetails, VersionSummary } from '../registry/index.ts';
import { publishedRecord } from '../training/index.ts';
import type { Context } from './context.ts';
import { fetchExport, signingKey, writeExport } from './exported-model.ts';
import { refuseExisting } from './lab.ts';
import { gatesTable } from './metrics-text.ts';
import { registerCustody } from './models-custody.ts';
import { registerDoor } from './models-door.ts';
import { registerExplain } from './models-explain.ts';
import { evidenceLines, registerHistory } from './models-history.ts';
import { registerOnnx } from './models-onnx.ts';
import { registerPull } from './models-pull.ts';
import { modelRoute, splitReference, splitVersion } from './models-reference.ts';
import { registerRollout } from './models-rollout.ts';
import { registerServeRepo } from './models-serve-repo.ts';
import { registerTrees, writeOnnx } from './models-trees.ts';
import type { Registrar } from './registrar.ts';
import { secureLines } from './secure-training.ts';
import { withSession } from './session.ts';
import { printable, table } from './text.ts';

export function registerModels({ program, action }: Registrar): void {
  const models = program
    .command('models')
    .description('The registry: versions, aliases, approvals and their history.');
  registerCustody(models, { action });
  models.command('list').description('Lists every version with its aliases.').action(action(list));
  models
    .command('show')
    .description('Verifies one version and shows its manifest and gate report.')
    .argument('<reference>', 'flow, flow@champion or flow@1.2.0')
    .action(action(show));
  models
    .command('promote')
    .description('Points an alias at a version whose gates passed; a running server serves it at once.')
    .argument('<version>', 'flow@1.2.0')
    .option('--alias <name>', 'champion, challenger, shadow or your own', 'champion')
    .addHelpText('after', '\nExample:\n  guardian models promote flow@1.2.0')
    .action(action<{ alias: string }>(promote));
  models
    .command('rollback')
    .description('Points an alias at the approved version before.')
    .argument('<name>', 'flow')
    .option('--alias <name>', 'which alias', 'champion')
    .action(action<{ alias: string }>(rollback));
  registerHistory(models, action);
  models
    .command('verify')
    .description('Checks signature, digests, encryption and the audit log for one version.')
    .argument('<reference>', 'flow, flow@champion or flow@1.2.0')
    .action(action(verify));
  models
    .command('export')
    .description('Writes a signed version as a plain folder that the model_signing tool verifies too.')
    .argument('<reference>', 'flow, flow@champion or flow@1.2.0')
    .requiredOption('--out <path>', 'a folder, with --onnx a file, that does not exist yet')
    .option('--onnx', 'the trees alone as ONNX, for other runtimes; unsigned')
    .addHelpText('after', '\nExample:\n  guardian models export flow@champion --out flow-model')
    .action(action<ExportOptions>(exportModel));
  registerDoor(models, action);
  registerRollout(models, { action });
  registerTrees(models, action);
  registerOnnx(models, action);
  registerExplain(models, action);
  registerPull(models, action);
  registerServeRepo(models, action);
}

async function list(context: Context): Promise<undefined> {
  const { models } = await withSession(
    context,
    async ({ api }) => (await api.call('GET', '/v1/models')) as { models: readonly VersionSummary[] },
  );
  if (models.length === 0) context.output.line('There are no models yet. `guardian demo` makes one.');
  else {
    context.output.line(
      table(
        ['model', 'version', 'aliases', 'gates', 'created', 'author'],
        models.map((model) => [
          model.name,
          model.version,
          model.aliases.join(' '),
          model.isInLog ? (model.gatesPassed ? 'passed' : 'FAILED') : 'NOT IN LOG',
          model.createdAt,
          printable(model.author),
        ]),
      ),
    );
  }
  context.output.object({ type: 'models.result', models });
  return undefined;
}

async function show(context: Context, _: unknown, reference?: string): Promise<undefined> {
  const { name, at } = splitReference(reference);
  const details = (await withSession(context, ({ api }) =>
    api.call('GET', modelRoute(name, `?version=${encodeURIComponent(at)}`)),
  )) as VersionDetails;
  const { manifest, gates } = details;
  context.output.line(`${details.name} ${details.version}  ${details.aliases.join(' ')}`);
  context.output.line(`digest        ${details.digest}`);
  context.output.line(`schema        ${details.schemaId}`);
  context.output.line(`source kinds  ${details.sourceKinds.join(', ')}`);
  context.output.line(`data          ${manifest.dataDigest}`);
  context.output.line(`author        ${printable(details.author)}, ${details.createdAt}`);
  const secure = publishedRecord(manifest.configuration);
  if (secure !== undefined) for (const line of secureLines(secure)) context.output.line(line);
  context.output.line();
  context.output.line(gatesTable(gates));
  const { approvals, approvalsRequired, evidence } = details;
  context.output.line(
    `\napprovals ${approvals.length} of ${approvalsRequired}${approvals.map(({ principal }) => ` ${printable(principal)}`).join(',')}`,
  );
  if (manifest.imported !== undefined) {
    const { name: origin, version, author, signer } = manifest.imported;
    context.output.line(
      `imported from ${origin}@${version} by ${printable(author)}, signed by ${signer.slice(0, 16)}…`,
    );
  }
  if (evidence === null) context.output.line('gates: submitter');
  else for (const line of evidenceLines(evidence)) context.output.line(line);
  context.output.object({ type: 'model.result', ...details });
  return undefined;
}

async function promote(context: Context, options: { alias: string }, reference?: string): Promise<undefined> {
  const { name, version } = splitVersion(reference, 'promote');
  const change = (await withSession(context, ({ api }) =>
    api.call('POST', modelRoute(name, '/promote'), { version, alias: options.alias }),
  )) as AliasChange;
  sayChange(context, change);
  return undefined;
}

async function rollback(context: Context, options: { alias: string }, name = ''): Promise<undefined> {
  const change = (await withSession(context, ({ api }) =>
    api.call('POST', modelRoute(name, '/rollback'), { alias: options.alias }),
  )) as AliasChange;
  sayChange(context, change);
  return undefined;
}

function sayChange(context: Context, change: AliasChange): void {
  context.output.line(
    `${change.name}@${change.alias} is now ${change.version} (audit entry ${change.intent})`,
  );
  context.output.line(
    `approved by ${change.approvals.length} of ${change.approvalsRequired}: ${printable(change.approvals.join(', '))}; gates: ${change.gates}`,
  );
  context.output.object({ type: 'alias.result', ...change });
}

async function verify(context: Context, _: unknown, reference?: string): Promise<undefined> {
  const { name, at } = splitReference(reference);
  const result = (await withSession(context, ({ api }) =>
    api.call('GET', modelRoute(name, `/verify?version=${encodeURIComponent(at)}`)),
  )) as { version: string; digest: string; steps: readonly string[] };
  for (const step of result.steps) context.output.line(`${context.output.style('green', 'ok')}  ${step}`);
  context.output.line(`${name}@${result.version} is verified: ${result.digest}`);
  context.output.object({ type: 'verify.result', ...result });
  return undefined;
}

interface ExportOptions {
  readonly out: string;
  readonly onnx?: boolean;
}

async function exportModel(context: Context, options: ExportOptions, reference = ''): Promise<undefined> {
  if (options.onnx === true) return await writeOnnx(context, options.out, reference);
  await refuseExisting(options.out);
  const { files, publicKeyPem } = await withSession(context, async ({ api }) => ({
    files: await fetchExport((method, route) => api.call(method, route), reference),
    publicKeyPem: await signingKey((method, route) => api.call(method, route)),
  }));
  await writeExport(options.out, files);
  const key = `${options.out}.pub.pem`;
  await writeFileAtomic(key, publicKeyPem, 0o644);
  context.output.line(`${reference} is in ${options.out}; its signing key's public part in ${key}`);
  context.output.line('Verify it elsewhere with:');
  context.output.line(
    `  model_signing verify key ${options.out} --signature ${join(options.out, 'model.sig')} --public_key ${key}`,
  );
  context.output.object({ type: 'export.result', reference, folder: options.out, publicKey: key });
  return undefined;
}
