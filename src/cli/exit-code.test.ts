import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AuditError } from '../audit/index.ts';
import { BaseError } from '../base/index.ts';
import { RegistryError } from '../registry/index.ts';
import { ResponseError } from '../response/index.ts';
import { StorageError } from '../storage/index.ts';
import { ApiError } from './api.ts';
import { CliError } from './errors.ts';
import { exitCodeOf } from './exit-code.ts';

const table: readonly (readonly [string, unknown, number])[] = [
  ['a failed verification', new AuditError('audit.checkpoint-forged', 'x'), 1],
  ['a failed gate', new RegistryError('registry.gate-failed', 'x'), 1],
  ['a bad value', new BaseError('base.config-invalid', 'x'), 2],
  ['wrong usage', new CliError('cli.usage', 'x'), 2],
  ['a missing model', new CliError('cli.no-model', 'x'), 3],
  ['a missing actuator', new ResponseError('response.no-actuator', 'x'), 3],
  ['a state that is owned', new StorageError('storage.state-owned', 'x'), 3],
  ['a refusal by the server', new ApiError(401, { code: 'server.key-wrong', category: 'security' }), 1],
  ['an answer that says nothing', new ApiError(500, undefined), 4],
  ['something unforeseen', new TypeError('x'), 4],
  ['an interrupt', new DOMException('x', 'AbortError'), 130],
];

describe('exit codes', () => {
  for (const [name, error, code] of table) {
    it(`gives ${code} for ${name}`, () => assert.equal(exitCodeOf(error), code));
  }
});
