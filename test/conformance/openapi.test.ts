import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openApiDocument } from '../../src/server/index.ts';
import { requirePython } from '../support/python-environment.ts';

const OPENAPI = { name: 'openapi', packages: ['openapi-spec-validator==0.9.0'] };
const SCRIPT = fileURLToPath(new URL('openapi.py', import.meta.url));

test('the OpenAPI document is valid by the published schema of 3.1', { timeout: 300_000 }, async (t) => {
  const python = await requirePython(t, OPENAPI);
  if (python === undefined) return;
  const errorsOf = (document: unknown): readonly string[] => {
    const input = JSON.stringify(document);
    const { status, stdout, stderr } = spawnSync(python, [SCRIPT], { input, encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    return JSON.parse(stdout) as readonly string[];
  };
  assert.deepEqual(errorsOf(openApiDocument()), []);
  assert.notDeepEqual(errorsOf({ openapi: '3.1.0', info: { title: 'no version' }, paths: {} }), []);
});
