import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { verifyBundle, verifyExport } from '../../src/registry/index.ts';
import { makeCandidate, openHouse } from '../support/registry-fixture.ts';
import { requireTool } from '../support/requires.ts';

/** The reference implementation, and a dependency that it uses and does not declare. */
const PACKAGES = ['model-signing==1.1.1', 'pyOpenSSL==26.4.0'];
const ENVIRONMENT = fileURLToPath(new URL('./.venv/model-signing-1.1.1', import.meta.url));
const TOOL = join(ENVIRONMENT, 'bin', 'model_signing');

let folder: string;
let exported: string;
let publicKey: string;
let publicKeyPem: string;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'conformance-'));
  exported = join(folder, 'flow');
  publicKey = join(folder, 'key.pem');
  const house = await openHouse(join(folder, 'house'));
  try {
    await house.registry.publish(makeCandidate(), { principal: 'ada' });
    await house.registry.exportTo('flow@1.0.0', exported);
    publicKeyPem = (await house.keys.active('model-signing')).publicKeyPem ?? '';
    writeFileSync(publicKey, publicKeyPem);
  } finally {
    await house.close();
  }
});

after(() => rmSync(folder, { recursive: true, force: true }));

interface Ended {
  readonly code: number;
  readonly output: string;
}

function run(program: string, args: readonly string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(program, args, { timeout: 300_000 }, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 127;
      resolve({ code, output: stdout + stderr });
    });
  });
}

/** Makes the virtual environment at the first call. Where that cannot be, the test is skipped, or fails under CI=true. */
async function requireReference(t: TestContext): Promise<boolean> {
  if (!requireTool(t, 'python3')) return false;
  if (existsSync(TOOL)) return true;
  // An environment cannot be moved once it is made, so one that was cut short is made anew.
  rmSync(ENVIRONMENT, { recursive: true, force: true });
  mkdirSync(join(ENVIRONMENT, '..'), { recursive: true });
  const steps = [
    await run('python3', ['-m', 'venv', ENVIRONMENT]),
    await run(join(ENVIRONMENT, 'bin', 'pip'), [
      'install',
      '--quiet',
      '--disable-pip-version-check',
      ...PACKAGES,
    ]),
  ];
  const failed = steps.find((step) => step.code !== 0);
  if (failed === undefined) return true;
  rmSync(ENVIRONMENT, { recursive: true, force: true });
  const reason = `could not install ${PACKAGES.join(' and ')}: ${failed.output.trim().split('\n').at(-1)}`;
  if (process.env.CI === 'true') assert.fail(reason);
  t.skip(reason);
  return false;
}

async function reference(model: string): Promise<Ended> {
  return await run(TOOL, [
    'verify',
    'key',
    model,
    '--signature',
    join(model, 'model.sig'),
    '--public_key',
    publicKey,
  ]);
}

function flip(path: string, at = 0.5): void {
  const bytes = readFileSync(path);
  const index = Math.floor(bytes.length * at);
  bytes[index] = (bytes[index] ?? 0) ^ 1;
  writeFileSync(path, bytes);
}

/** Changes one signature character of the envelope and leaves the bundle well formed. */
function changeSignature(model: string): void {
  const path = join(model, 'model.sig');
  const bundle = JSON.parse(readFileSync(path, 'utf8'));
  const [signature] = bundle.dsseEnvelope.signatures;
  const bytes = Buffer.from(signature.sig, 'base64');
  bytes[20] = (bytes[20] ?? 0) ^ 1;
  signature.sig = bytes.toString('base64');
  writeFileSync(path, JSON.stringify(bundle));
}

const TAMPERINGS: Readonly<Record<string, (model: string) => void>> = {
  'a flipped bit in the weights': (model) => flip(join(model, 'model.agm')),
  'a flipped bit in the manifest': (model) => flip(join(model, 'manifest.json')),
  'a flipped bit in the gate report': (model) => flip(join(model, 'gates.json')),
  'a flipped bit in the schema': (model) => flip(join(model, 'schema.json')),
  'a flipped bit in the signature file': (model) => flip(join(model, 'model.sig')),
  'another signature': changeSignature,
  'an extra file': (model) => writeFileSync(join(model, 'extra.bin'), 'x'),
  'a missing file': (model) => rmSync(join(model, 'gates.json')),
  'a renamed file': (model) => renameSync(join(model, 'gates.json'), join(model, 'gate.json')),
  'a cut file': (model) =>
    writeFileSync(join(model, 'model.agm'), readFileSync(join(model, 'model.agm')).subarray(1)),
  'a file behind a link': (model) => {
    renameSync(join(model, 'model.agm'), `${model}.agm`);
    symlinkSync(`${model}.agm`, join(model, 'model.agm'));
  },
};

describe('an exported model', () => {
  test('is accepted by the reference tool and by our verifier', async (t) => {
    const verified = await verifyExport(exported, [publicKeyPem]);
    assert.equal(`${verified.name}@${verified.version}`, 'flow@1.0.0');
    if (!(await requireReference(t))) return;
    const { code, output } = await reference(exported);
    assert.equal(code, 0, output);
    assert.match(output, /succe/i);
  });

  for (const [title, tamper] of Object.entries(TAMPERINGS)) {
    test(`with ${title} is refused by both`, async (t) => {
      const model = join(folder, title.replaceAll(' ', '-'));
      cpSync(exported, model, { recursive: true });
      tamper(model);
      await assert.rejects(verifyExport(model, [publicKeyPem]), { category: 'security' });
      if (!(await requireReference(t))) return;
      const { code, output } = await reference(model);
      assert.notEqual(code, 0, output);
    });
  }

  test('signed by the reference tool with a key of its own is a foreign one to us', async (t) => {
    if (!(await requireReference(t))) return;
    const model = join(folder, 'foreign');
    cpSync(exported, model, { recursive: true });
    rmSync(join(model, 'model.sig'));
    const { privateKey, publicKey: theirs } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const keyPath = join(folder, 'their-key.pem');
    writeFileSync(keyPath, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
    const { code, output } = await run(TOOL, [
      'sign',
      'key',
      model,
      '--signature',
      join(model, 'model.sig'),
      '--private_key',
      keyPath,
    ]);
    assert.equal(code, 0, output);
    await assert.rejects(verifyExport(model, [publicKeyPem]), { code: 'registry.signer-untrusted' });
    // Its statement reads the same, but it is not written in our one form.
    const theirPem = theirs.export({ type: 'spki', format: 'pem' }) as string;
    const bytes = readFileSync(join(model, 'model.sig'));
    const statement = verifyBundle(bytes, [{ publicKeyPem: theirPem }], { canonical: false });
    assert.deepEqual(
      new Map(statement.digests),
      new Map(verifyBundle(readFileSync(join(exported, 'model.sig')), [{ publicKeyPem }]).digests),
    );
  });
});
