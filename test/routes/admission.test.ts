import assert from 'node:assert/strict';
import { sign } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { verifyProof } from '../../src/audit/index.ts';
import { configurationSchema } from '../../src/configuration.ts';
import { dssePreAuthEncoding } from '../../src/crypto/index.ts';
import { loadSchema } from '../../src/features/index.ts';
import { openGuardian } from '../../src/guardian/index.ts';
import { writeLab } from '../../src/lab/index.ts';
import { guardian, type Home, makeHome } from '../support/cli.ts';
import { requireTool } from '../support/requires.ts';
import { flowCandidate } from '../support/served-guardian.ts';
import { AUTHORITY, type Certified, certify } from '../support/signing-chain.ts';

let home: Home;
let config: string;
let logKey: string;
const inHome = (name: string) => join(home.folder, name);

/** A version by `trainer`; approvals come from the socket's owner and from `bob`. */
before(async () => {
  home = await makeHome();
  config = inHome('guardian.yaml');
  const schema = await loadSchema('flow-core');
  const opened = await openGuardian({
    stateFolder: inHome('house'),
    configFolder: inHome('config/ai-guardian'),
    config: configurationSchema.parse({}),
  });
  await opened.registry.publish(flowCandidate(schema), { principal: 'trainer' });
  await opened.registry.approve('flow', '1.0.0', { principal: 'bob' });
  logKey = (await opened.keys.active('log-signing')).publicKeyPem ?? '';
  await opened.close();
});

after(() => home.remove());

async function models(...args: string[]) {
  const result = await guardian(home, [
    'models',
    ...args,
    '--state',
    inHome('house'),
    '--config',
    config,
    '--json',
  ]);
  return { ...result, last: result.objects.at(-1) ?? {} };
}

test('a model is approved by two, promoted, looked up at a time with a proof, exported and imported', async () => {
  writeFileSync(config, 'registry:\n  approvals: 2\n');
  const wanting = await models('promote', 'flow@1.0.0');
  assert.equal(wanting.exitCode, 1, wanting.stderr);
  assert.match(wanting.stderr + wanting.stdout, /1 of 2 approvals, 1 wanting/);
  const approved = await models('approve', 'flow@1.0.0');
  assert.equal(approved.exitCode, 0, approved.stderr);
  const promoted = await models('promote', 'flow@1.0.0');
  assert.equal(promoted.exitCode, 0, promoted.stderr);
  assert.deepEqual([promoted.last.gates, promoted.last.approvalsRequired], ['submitter', 2]);
  const proof = inHome('champion.tlog-proof');
  const at = await models('history', 'flow', '--at', 'now', '--proof', proof);
  assert.equal(at.exitCode, 0, at.stderr);
  assert.equal((at.last.change as { version: string }).version, '1.0.0');
  assert.equal((at.last.approvals as unknown[]).length, 2);
  const { entry } = verifyProof(readFileSync(proof, 'utf8'), [logKey]);
  assert.deepEqual([entry.action, entry.subject, entry.result], ['model.promote', 'flow@1.0.0', 'done']);
  const before = await models('history', 'flow', '--at', '2020-01-01T00:00:00Z');
  assert.equal(before.last.change, null);
  const folder = inHome('exported');
  assert.equal((await models('export', 'flow@1.0.0', '--out', folder)).exitCode, 0);
  const imported = await models('import', folder, '--key', `${folder}.pub.pem`, '--name', 'guest');
  assert.equal(imported.exitCode, 0, imported.stderr);
  const shown = await models('show', 'guest@1.0.0');
  assert.equal((shown.last.manifest as { imported: { author: string } }).imported.author, 'trainer');
});

/** Signs an export anew, by the leaf's certificate, as other tools do. */
function signByCertificate(folder: string, leaf: Certified, middle: Certified): void {
  const path = join(folder, 'model.sig');
  const { mediaType, dsseEnvelope } = JSON.parse(readFileSync(path, 'utf8'));
  const message = dssePreAuthEncoding(dsseEnvelope.payloadType, Buffer.from(dsseEnvelope.payload, 'base64'));
  const sig = sign('sha256', message, readFileSync(leaf.keyFile)).toString('base64');
  const certificates = [leaf, middle].map(({ der }) => ({ rawBytes: Buffer.from(der).toString('base64') }));
  const bundle = {
    mediaType,
    verificationMaterial: { x509CertificateChain: { certificates }, tlogEntries: [] },
    dsseEnvelope: { ...dsseEnvelope, signatures: [{ sig, keyid: '' }] },
  };
  writeFileSync(path, JSON.stringify(bundle, null, 2));
}

test('an export signed by certificate is imported under its root, and under no other', async (t) => {
  if (!requireTool(t, 'openssl')) return;
  writeFileSync(config, '');
  const folder = inHome('certified');
  assert.equal((await models('export', 'flow@1.0.0', '--out', folder)).exitCode, 0);
  const root = certify(home.folder, 'root');
  const middle = certify(home.folder, 'middle', { by: root, extensions: AUTHORITY });
  signByCertificate(folder, certify(home.folder, 'leaf', { by: middle }), middle);
  const other = certify(home.folder, 'other root');
  const refused = await models('import', folder, '--certificate', other.certFile, '--name', 'certified');
  assert.notEqual(refused.exitCode, 0);
  assert.match(refused.stderr + refused.stdout, /registry\.signer-untrusted|no path leads/);
  const imported = await models('import', folder, '--certificate', root.certFile, '--name', 'certified');
  assert.equal(imported.exitCode, 0, imported.stderr);
  assert.equal((await models('verify', 'certified@1.0.0')).exitCode, 0);
});

test('gate data are registered by path, shown, and keep a bad model out', async () => {
  writeFileSync(config, 'registry:\n  gates: evaluator\n  approvals: 1\n');
  const missing = await models('promote', 'flow@1.0.0', '--alias', 'shadow');
  assert.equal(missing.exitCode, 1, missing.stderr);
  assert.match(missing.stderr + missing.stdout, /registry\.gate-data-missing|no gate data/);
  const [path, labels] = [inHome('gate.pcap'), inHome('labels.csv')];
  await writeLab({ out: path, labels, seed: 5, seconds: 20 });
  const added = await models('gate-data', 'add', 'flow', path, '--labels', labels, '--schema', 'flow-core');
  assert.equal(added.exitCode, 0, added.stderr);
  const shown = await models('gate-data', 'show', 'flow');
  assert.deepEqual(shown.last.gateData, added.last.gateData);
  const refused = await models('promote', 'flow@1.0.0', '--alias', 'shadow');
  assert.equal(refused.exitCode, 1, refused.stderr);
  rmSync(labels);
  assert.notEqual((await models('promote', 'flow@1.0.0', '--alias', 'shadow')).exitCode, 0);
});

test('what is asked wrongly is refused as usage', async () => {
  for (const args of [
    ['approve', 'flow'],
    ['history', 'flow', '--at', 'yesterday'],
    ['history', 'flow', '--proof', 'x'],
    ['import', inHome('nothing'), '--key', config],
    ['import', inHome('nothing')],
    ['gate-data', 'add', 'flow', 'x'],
  ]) {
    assert.equal((await models(...args)).exitCode, 2, args.join(' '));
  }
});
