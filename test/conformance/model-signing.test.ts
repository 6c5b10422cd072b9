import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { cpSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { ManualClock } from '../../src/base/index.ts';
import { readExport, verifyBundle, verifyExport } from '../../src/registry/index.ts';
import { type Ended, requirePython, SIGNING } from '../support/python-environment.ts';
import { PythonLines } from '../support/python-lines.ts';
import { makeCandidate, openHouse } from '../support/registry-fixture.ts';
import { requireData, requireTool } from '../support/requires.ts';
import { AUTHORITY, type CertifyOptions, certify, SIGNER } from '../support/signing-chain.ts';

const SCRIPT = fileURLToPath(new URL('model-signing.py', import.meta.url));

let tool: PythonLines | undefined;
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

after(async () => {
  await tool?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Whether the reference tool is at hand; the environment is made at the first call. */
async function requireReference(t: TestContext): Promise<boolean> {
  if (tool !== undefined) return true;
  const python = await requirePython(t, SIGNING);
  if (python === undefined) return false;
  tool = new PythonLines(python, SCRIPT);
  return true;
}

/** Runs the command of the reference tool. */
async function runTool(args: readonly string[]): Promise<Ended> {
  return (await tool?.ask(args)) as Ended;
}

async function reference(model: string): Promise<Ended> {
  return await runTool([
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
    const { code, output } = await runTool([
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

/** Signs a copy of the export with the reference tool, in a folder of its own. */
async function signByReference(name: string, args: readonly string[]): Promise<string> {
  const model = join(folder, name);
  cpSync(exported, model, { recursive: true });
  rmSync(join(model, 'model.sig'));
  const [method = '', ...rest] = args;
  const signature = ['--signature', join(model, 'model.sig')];
  const { code, output } = await runTool(['sign', method, model, ...signature, ...rest]);
  assert.equal(code, 0, output);
  return model;
}

describe('a bundle of the reference tool', () => {
  for (const curve of ['P-256', 'P-384', 'P-521'] as const) {
    test(`signed with a ${curve} key verifies here`, async (t) => {
      if (!(await requireReference(t))) return;
      const { privateKey, publicKey: theirs } = generateKeyPairSync('ec', { namedCurve: curve });
      const keyPath = join(folder, `${curve}.pem`);
      writeFileSync(keyPath, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
      const model = await signByReference(`key-${curve}`, ['key', '--private_key', keyPath]);
      const theirPem = theirs.export({ type: 'spki', format: 'pem' }) as string;
      const bytes = readFileSync(join(model, 'model.sig'));
      const { digests } = verifyBundle(bytes, [{ publicKeyPem: theirPem }], { canonical: false });
      assert.deepEqual([...digests.keys()].sort(), [
        'gates.json',
        'manifest.json',
        'model.agm',
        'schema.json',
      ]);
      assert.throws(() => verifyBundle(bytes, [{ publicKeyPem }], { canonical: false }), {
        code: 'registry.signer-untrusted',
      });
    });

    test(`signed by certificate on ${curve} verifies here and is imported`, async (t) => {
      if (!requireTool(t, 'openssl') || !(await requireReference(t))) return;
      const { root, middle, sign } = makeShop(curve);
      const model = await sign(`certificate-${curve}`);
      const rootCertificatesPem = [root.pem];
      assert.equal((await verifyExport(model, [], { rootCertificatesPem })).version, '1.0.0');
      // The tool, which signed it, agrees, on the same root.
      const signature = ['--signature', join(model, 'model.sig')];
      const theirs = ['verify', 'certificate', model, ...signature, '--certificate_chain', root.certFile];
      const { code, output } = await runTool(theirs);
      assert.equal(code, 0, output);
      const clock = new ManualClock(Date.now());
      const house = await openHouse(join(folder, `house-${curve}`), clock);
      try {
        const by = { principal: 'ada' };
        const files = await readExport(model);
        const published = await house.registry.importFiles(files, [], by, { rootCertificatesPem });
        const { manifest } = await house.registry.verify(`flow@${published.version}`);
        assert.match(manifest.imported?.signer ?? '', /^[0-9a-f]{64}$/);
        for (const roots of [[], [certify(folder, `other ${curve}`).pem]]) {
          await assert.rejects(house.registry.importFiles(files, [], by, { rootCertificatesPem: roots }), {
            code: 'registry.signer-untrusted',
          });
        }
        // As a key, a certificate is none: not the signer's, and not that of its authority.
        await assert.rejects(house.registry.importFiles(files, [root.pem, middle.pem], by), {
          code: 'registry.signer-untrusted',
        });
        clock.advance(3 * 86_400_000);
        await assert.rejects(house.registry.importFiles(files, [], by, { rootCertificatesPem }), {
          code: 'registry.certificate-refused',
        });
      } finally {
        await house.close();
      }
      for (const [title, tamper] of Object.entries(TAMPERINGS)) {
        const tampered = join(folder, `${curve} with ${title}`);
        cpSync(model, tampered, { recursive: true });
        tamper(tampered);
        const refusal = verifyExport(tampered, [], { rootCertificatesPem });
        await assert.rejects(refusal, { category: 'security' }, title);
      }
    });
  }

  type Forged = readonly [code: string, options: Parameters<typeof makeShop>[1]];
  const FORGED: Readonly<Record<string, Forged>> = {
    'that expired': ['registry.certificate-refused', { leaf: { days: -1 } }],
    'that is not for code signing': [
      'registry.certificate-refused',
      { leaf: { extensions: ['keyUsage=critical,digitalSignature', 'extendedKeyUsage=serverAuth'] } },
    ],
    'whose issuer is no authority': ['registry.certificate-refused', { middle: { extensions: SIGNER } }],
    'whose issuer is left out': ['registry.signer-untrusted', { isCut: true }],
  };
  for (const [title, [code, options]] of Object.entries(FORGED)) {
    test(`by a certificate ${title} is refused`, async (t) => {
      if (!requireTool(t, 'openssl') || !(await requireReference(t))) return;
      const { root, sign } = makeShop(title, options);
      const model = await sign(title.replaceAll(' ', '-'));
      await assert.rejects(verifyExport(model, [], { rootCertificatesPem: [root.pem] }), { code });
    });
  }
});

/** A root, an authority under it, and a signer; `name` is its curve where it is one. */
function makeShop(
  name: string,
  options: {
    readonly leaf?: CertifyOptions;
    readonly middle?: CertifyOptions;
    readonly isCut?: boolean;
  } = {},
) {
  const key = name === 'P-384' || name === 'P-521' ? name : 'P-256';
  const root = certify(folder, `root ${name}`, { key });
  const middle = certify(folder, `middle ${name}`, {
    by: root,
    key,
    extensions: AUTHORITY,
    ...options.middle,
  });
  const leaf = certify(folder, `leaf ${name}`, { by: middle, key, ...options.leaf });
  const sign = async (model: string) =>
    await signByReference(model, [
      ...['certificate', '--private_key', leaf.keyFile, '--signing_certificate', leaf.certFile],
      ...['--certificate_chain', options.isCut === true ? leaf.certFile : middle.certFile],
    ]);
  return { root, middle, sign };
}

describe('the schemas of OpenSSF Model Signing v1.0', () => {
  const FOLDER = 'vectors/oms';
  const SCHEMAS = ['bundle', 'envelope', 'statement', 'predicate'] as const;

  /** Validators by schema; each says whether a document is valid. */
  function validators(vectors: string) {
    const ajv = new Ajv2020({ strict: false, allErrors: true });
    const ids = SCHEMAS.map((name) => {
      const schema = JSON.parse(readFileSync(join(vectors, `schemas/v1.0/${name}.schema.json`), 'utf8'));
      ajv.addSchema(schema);
      return [name, schema.$id] as const;
    });
    return Object.fromEntries(
      ids.map(([name, id]) => [name, (document: unknown) => ajv.validate(id, document) || ajv.errorsText()]),
    ) as Record<(typeof SCHEMAS)[number], (document: unknown) => true | string>;
  }

  test('take our bundle, its envelope, statement and predicate', (t) => {
    const vectors = requireData(t, FOLDER);
    if (vectors === undefined) return;
    const valid = validators(vectors);
    const bundle = JSON.parse(readFileSync(join(exported, 'model.sig'), 'utf8'));
    const statement = JSON.parse(Buffer.from(bundle.dsseEnvelope.payload, 'base64').toString());
    assert.equal(valid.bundle(bundle), true);
    assert.equal(valid.envelope(bundle.dsseEnvelope), true);
    assert.equal(valid.statement(statement), true);
    assert.equal(valid.predicate(statement.predicate), true);
    assert.notEqual(valid.bundle({ ...bundle, dsseEnvelope: undefined, more: 1 }), true);
    assert.notEqual(valid.statement({ ...statement, predicateType: 'x' }), true);
    assert.notEqual(valid.predicate({ ...statement.predicate, resources: [{ name: '' }] }), true);
  });

  test('take the published vectors as they are said to be', (t) => {
    const vectors = requireData(t, FOLDER);
    if (vectors === undefined) return;
    const valid = validators(vectors);
    const read = (file: string) => readFileSync(join(vectors, 'test-vectors/v1.0', file), 'utf8');
    for (const name of ['certificate', 'key', 'sigstore']) {
      assert.equal(valid.bundle(JSON.parse(read(`valid/${name}.bundle.json`))), true, name);
    }
    for (const name of ['missing-envelope', 'missing-tlog-entries', 'missing-verification-material']) {
      assert.notEqual(valid.bundle(JSON.parse(read(`invalid/${name}.bundle.json`))), true, name);
    }
    const wrong = JSON.parse(read('invalid-payload/wrong-predicate.bundle.json'));
    const payload = Buffer.from(wrong.dsseEnvelope.payload, 'base64').toString();
    assert.notEqual(valid.statement(JSON.parse(payload)), true);
  });
});
