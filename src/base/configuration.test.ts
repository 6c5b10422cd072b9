import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { z } from 'zod';
import { type ConfigurationSources, resolveConfiguration, variableName } from './configuration.ts';

const schema = z.strictObject({
  inference: z
    .strictObject({
      batchSize: z.int().min(1).max(4096).default(256),
      timeoutMs: z.number().min(1).default(100),
    })
    .prefault({}),
  response: z.strictObject({ allowList: z.array(z.string()).default([]) }).prefault({}),
});

describe('resolveConfiguration', () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'guardian-config-'));
  });
  after(() => rm(folder, { recursive: true }));

  async function file(text: string): Promise<string> {
    const path = join(folder, 'guardian.yaml');
    await writeFile(path, text);
    return path;
  }

  it('gives defaults and says so', async () => {
    const { values, origins } = await resolveConfiguration(schema, {});
    assert.equal(values.inference.batchSize, 256);
    assert.deepEqual([...origins.keys()].sort(), [
      'inference.batchSize',
      'inference.timeoutMs',
      'response.allowList',
    ]);
    assert.equal(origins.get('inference.batchSize'), 'default');
  });

  it('lets the environment win over the file, and the command line over both', async () => {
    const sources: ConfigurationSources = {
      file: await file('inference: {batchSize: 8, timeoutMs: 9}\nresponse: {allowList: [10.0.0.1]}\n'),
      environment: { GUARDIAN_INFERENCE_BATCH_SIZE: '16', GUARDIAN_STATE: '/s', PATH: '/bin' },
      overrides: { 'inference.timeoutMs': 33 },
    };
    const { values, origins } = await resolveConfiguration(schema, sources);
    assert.deepEqual(values, {
      inference: { batchSize: 16, timeoutMs: 33 },
      response: { allowList: ['10.0.0.1'] },
    });
    assert.equal(origins.get('inference.batchSize'), 'environment GUARDIAN_INFERENCE_BATCH_SIZE');
    assert.equal(origins.get('inference.timeoutMs'), 'command line');
    assert.equal(origins.get('response.allowList'), 'file');
  });

  it('freezes the whole tree', async () => {
    const { values } = await resolveConfiguration(schema, {});
    assert.throws(() => {
      (values.inference as { batchSize: number }).batchSize = 1;
    }, TypeError);
  });

  const refused: [string, () => Promise<ConfigurationSources>, RegExp][] = [
    ['an unknown key', async () => ({ file: await file('inference: {batchsize: 8}') }), /batchsize/],
    ['a value out of range', async () => ({ file: await file('inference: {batchSize: 0}') }), /batchSize/],
    ['a prototype key', async () => ({ file: await file('__proto__: {x: 1}') }), /./],
    ['a list at the top', async () => ({ file: await file('- 1') }), /mapping/],
    ['broken YAML', async () => ({ file: await file('a: [') }), /not YAML/],
    ['a duplicate key', async () => ({ file: await file('a: 1\na: 2') }), /not YAML/],
    ['a missing file', async () => ({ file: '/nowhere/guardian.yaml' }), /cannot read/],
    [
      'an unknown variable',
      async () => ({ environment: { GUARDIAN_INFERENCE_BATCHSIZE: '1' } }),
      /GUARDIAN_INFERENCE_BATCHSIZE/,
    ],
  ];
  for (const [name, sources, message] of refused) {
    it(`refuses ${name}`, async () => {
      await assert.rejects(resolveConfiguration(schema, await sources()), (error: Error) => {
        assert.equal((error as { code?: string }).code, 'base.config-invalid');
        assert.match(error.message, message);
        return true;
      });
    });
  }

  it('names the variable of a path', () => {
    assert.equal(
      variableName('inference.maxConcurrentRequests'),
      'GUARDIAN_INFERENCE_MAX_CONCURRENT_REQUESTS',
    );
  });
});
