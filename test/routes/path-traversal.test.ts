import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { FastifyInstance } from 'fastify';
import { ManualClock } from '../../src/base/index.ts';
import { configurationSchema } from '../../src/configuration.ts';
import { loadSchema } from '../../src/features/index.ts';
import { type Guardian, openGuardian } from '../../src/guardian/index.ts';
import { buildServer } from '../../src/server/index.ts';
import { openDirectoryBlobStore } from '../../src/storage/index.ts';
import { flowCandidate } from '../support/served-guardian.ts';

const TESTER = { principal: 'tester' };
const CANARY = 'canary-7c1d9e';

let outside: string;
let state: string;
let guardian: Guardian;
let server: FastifyInstance;
let untouched: string;

/** A tree of canaries with the guardian's folders in its middle. */
before(async () => {
  outside = mkdtempSync(join(tmpdir(), 'traversal-'));
  state = join(outside, 'a', 'b', 'state');
  for (const folder of ['', 'a', 'a/b', 'a/b/neighbour', 'etc']) {
    mkdirSync(join(outside, folder), { recursive: true });
    for (const name of ['passwd', 'canary.json', 'model.agm'])
      writeFileSync(join(outside, folder, name), CANARY);
  }
  guardian = await openGuardian({
    stateFolder: state,
    configFolder: join(outside, 'a', 'b', 'config'),
    config: configurationSchema.parse({}),
    clock: new ManualClock(),
  });
  await guardian.registry.publish(flowCandidate(await loadSchema('flow-core')), TESTER);
  server = await buildServer(guardian, { trust: 'local' });
  untouched = digestOutside();
});
after(async () => {
  await server.close();
  await guardian.close();
  rmSync(outside, { recursive: true, force: true });
});

/** Of every name and content in the tree but the state's and the configuration's. */
function digestOutside(): string {
  const hash = createHash('sha256');
  const walk = (folder: string): void => {
    for (const entry of readdirSync(folder, { withFileTypes: true }).sort((a, b) =>
      a.name < b.name ? -1 : 1,
    )) {
      const path = join(folder, entry.name);
      if (path === state || path === join(outside, 'a', 'b', 'config')) continue;
      hash.update(`${path}\0`);
      if (entry.isDirectory()) walk(path);
      else hash.update(readFileSync(path));
    }
  };
  walk(outside);
  return hash.digest('hex');
}

/** Ways out of a folder. */
const WAYS: readonly (readonly [what: string, text: string])[] = [
  ['dots', '../../passwd'],
  ['dots in the middle', 'flow/../../../passwd'],
  ['one level', '..'],
  ['encoded', '%2e%2e%2f%2e%2e%2fpasswd'],
  ['encoded slash', '..%2f..%2fpasswd'],
  ['double-encoded', '%252e%252e%252fpasswd'],
  ['overlong UTF-8', '%c0%ae%c0%ae%c0%afpasswd'],
  ['backslash', '..\\..\\passwd'],
  ['encoded backslash', '..%5c..%5cpasswd'],
  ['absolute', '/etc/passwd'],
  ['encoded absolute', '%2fetc%2fpasswd'],
  ['drive', 'C:\\passwd'],
  ['share', '\\\\host\\share\\passwd'],
  ['file URL', 'file:///etc/passwd'],
  ['NUL', 'flow\0/../passwd'],
  ['encoded NUL', 'flow%00.json'],
  ['line break', 'flow\n../passwd'],
  ['look-alike full stops', '\uff0e\uff0e\uff0fpasswd'],
  ['look-alike slash', '..\u2215passwd'],
  ['one dot leader', '\u2024\u2024/passwd'],
  ['full-width letters', '\uff46\uff4c\uff4f\uff57'],
  ['Kelvin sign', '\u212aey'],
  ['matrix parameter', '..;/passwd'],
  ['leading dot', '.hidden'],
  ['home', '~/passwd'],
  ['CVE-2023-1177: a local path as the source', '/etc/passwd?artifact=model'],
  ['CVE-2023-2780: file: without slashes hides the path from a check', 'file:../../etc/passwd'],
  ['CVE-2024-1560: a path unquoted once more after its check', '%2525252e%2525252e%2525252fpasswd'],
  ['CVE-2026-2614: dots behind a legal prefix', 'models/flow/1.0.0/../../../../passwd'],
];

/** Where a request puts the text; `{}` stands for it. */
const ROUTES: readonly (readonly ['GET' | 'POST' | 'DELETE', string, unknown?])[] = [
  ['GET', '/v1/models/{}'],
  ['GET', '/v1/models/{}/history'],
  ['GET', '/v1/models/flow?version={}'],
  ['GET', '/v1/models/flow/verify?version={}'],
  ['GET', '/v1/models/flow/versions/{}/export'],
  ['GET', '/v1/models/{}/versions/1.0.0/card'],
  ['GET', '/v1/models/flow/versions/{}/bom'],
  ['GET', '/v1/models/flow/versions/{}/lineage'],
  ['GET', '/v1/models/flow/versions/{}/erase'],
  ['GET', '/v2/models/{}'],
  ['GET', '/v2/models/flow/versions/{}'],
  ['GET', '/v1/detections/{}'],
  ['GET', '/v1/audit/proof/{}'],
  ['GET', '/{}'],
  ['DELETE', '/v1/access/{}'],
  ['POST', '/v1/models/{}/promote', { version: '1.0.0' }],
  ['POST', '/v1/models/flow/promote', { version: '{}' }],
  ['POST', '/v1/models/flow/promote', { version: '1.0.0', alias: '{}' }],
  ['POST', '/v1/models/{}/prune', {}],
  ['POST', '/v1/models/{}/versions/1.0.0/erase', { reason: 'x' }],
  ['POST', '/v1/models/flow/versions/{}/erase', { reason: 'x' }],
  ['POST', '/v1/models/flow/versions/1.0.0/tags', { tags: { '{}': 'x' } }],
];

describe('a way out of the registry', () => {
  for (const [what, text] of WAYS) {
    test(`by ${what} is refused as name, version, alias, tag and path`, async () => {
      for (const [method, path, body] of ROUTES) {
        for (const written of new Set([
          encodeURIComponent(text),
          text.replaceAll(/[^\x21-\x7e]/g, encodeURIComponent),
        ])) {
          const url = path.replace('{}', written);
          const payload =
            body === undefined
              ? undefined
              : JSON.stringify(body).replace('{}', JSON.stringify(text).slice(1, -1));
          const answer = await server.inject({
            method,
            url,
            headers: {
              host: 'localhost',
              ...(payload === undefined ? {} : { 'content-type': 'application/json' }),
            },
            ...(payload === undefined ? {} : { payload }),
          });
          // A plain /../ is resolved on the way, to another address that every caller may name.
          const isResolved = /\/\.\.(\/|$)/.test(url);
          assert.ok(answer.statusCode < 500, `${method} ${url}: ${answer.statusCode}`);
          assert.ok(isResolved || answer.statusCode >= 300, `${method} ${url}: ${answer.statusCode}`);
          assert.ok(!answer.body.includes(CANARY), `${method} ${url}`);
        }
      }
      assert.equal(digestOutside(), untouched);
    });

    test(`by ${what} is refused by the registry and the blob store`, async () => {
      const { registry } = guardian;
      const blobs = await openDirectoryBlobStore(join(state, 'blobs'));
      const candidate = flowCandidate(await loadSchema('flow-core'));
      const attempts: readonly (() => Promise<unknown>)[] = [
        () => registry.publish({ ...candidate, name: text }, TESTER),
        () => registry.publish(candidate, TESTER, { version: text }),
        () => registry.promote(text, '1.0.0', 'champion', TESTER),
        () => registry.promote('flow', text, 'champion', TESTER),
        () => registry.promote('flow', '1.0.0', text, TESTER),
        () => registry.verify(text),
        () => registry.verify(`flow@${text}`),
        () => registry.custody.erase(text, '1.0.0', { reason: 'x' }, TESTER),
        () => registry.custody.erase('flow', text, { reason: 'x' }, TESTER),
        () => registry.custody.prune(text, {}, TESTER),
        () => registry.custody.tag('flow', '1.0.0', { [text]: 'x' }, TESTER),
        () => registry.exportTo(`flow@${text}`, join(outside, 'out')),
        () => guardian.database.wraps.get(text),
        () => guardian.database.wraps.delete(text),
      ];
      for (const attempt of attempts) {
        await assert.rejects(attempt, /.+/, attempt.toString());
      }
      // A plain word that means nothing here is a legal name of no blob.
      await blobs.get(text).then(
        () => assert.fail('a blob was read'),
        (error: { code?: string }) => assert.match(error.code ?? '', /^storage\./),
      );
      if (!/^[a-z0-9][\w.%-]*$/.test(text))
        await assert.rejects(blobs.put(text, Buffer.from('x')), { code: 'storage.name-invalid' });
      assert.equal(digestOutside(), untouched);
    });
  }

  test('by a link in a folder of the state is not followed, neither to read nor to write', async () => {
    const folder = join(state, 'blobs', 'models', 'flow');
    const version = join(folder, '1.0.0');
    const neighbour = join(outside, 'a', 'b', 'neighbour');
    renameSync(version, `${version}-kept`);
    symlinkSync(neighbour, version);
    try {
      await assert.rejects(guardian.registry.verify('flow@1.0.0'));
      await assert.rejects(guardian.registry.custody.card('flow', '1.0.0'));
    } finally {
      rmSync(version);
      renameSync(`${version}-kept`, version);
    }
    const manifest = join(version, 'manifest.json');
    renameSync(manifest, `${manifest}.kept`);
    symlinkSync(join(neighbour, 'canary.json'), manifest);
    try {
      await assert.rejects(guardian.registry.verify('flow@1.0.0'));
    } finally {
      rmSync(manifest);
      renameSync(`${manifest}.kept`, manifest);
    }
    symlinkSync(neighbour, join(state, 'blobs', 'models', 'other'));
    const other = flowCandidate(await loadSchema('flow-core'), 'other');
    await assert.rejects(guardian.registry.publish(other, TESTER));
    assert.equal((await guardian.registry.verify('flow@1.0.0')).version, '1.0.0');
    assert.equal(digestOutside(), untouched);
  });

  test('by an export does not overwrite what is there, through a link neither', async () => {
    const neighbour = join(outside, 'a', 'b', 'neighbour');
    const link = join(state, 'out');
    symlinkSync(neighbour, link);
    for (const folder of [neighbour, link, join(neighbour, 'passwd')]) {
      await assert.rejects(guardian.registry.exportTo('flow@1.0.0', folder), {
        code: 'registry.export-exists',
      });
    }
    assert.equal(digestOutside(), untouched);
  });
});
