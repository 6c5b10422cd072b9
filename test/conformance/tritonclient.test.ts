import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { buildServer, listenHttp, type Role } from '../../src/server/index.ts';
import { type PythonEnvironment, requirePython, runProgram } from '../support/python-environment.ts';
import { openServedHouse } from '../support/served-guardian.ts';

const TRITON: PythonEnvironment = {
  name: 'tritonclient',
  packages: [
    ...['tritonclient==2.73.0', 'geventhttpclient==2.6.1', 'python-rapidjson==1.25', 'numpy==2.4.6'],
    ...['grpcio==1.85.1', 'protobuf==6.33.6', 'packaging'],
  ],
};
const SCRIPT = fileURLToPath(new URL('triton-peer.py', import.meta.url));

interface Refused {
  readonly status: string;
  readonly message: string;
}

interface Outputs {
  readonly probability: readonly number[];
  readonly verdict: readonly string[];
  readonly kind: readonly string[];
}

interface Told {
  readonly live: boolean;
  readonly ready: boolean;
  readonly modelReady: boolean;
  readonly versionReady: boolean;
  readonly otherReady: boolean;
  readonly unloaded: boolean;
  readonly loaded: boolean;
  readonly server: { readonly name: string; readonly extensions: readonly string[] };
  readonly model: {
    readonly name: string;
    readonly versions: readonly string[];
    readonly inputs: readonly { readonly name: string; readonly datatype: string }[];
  };
  readonly id: string;
  readonly errors: Readonly<Record<string, Refused | null>>;
  readonly stream: readonly { readonly id?: string; readonly error?: string; readonly verdict?: string[] }[];
  readonly statistics: {
    readonly model_stats: readonly {
      readonly inference_count: number | string;
      readonly inference_stats: Readonly<Record<string, { count: number | string; ns?: number | string }>>;
      readonly batch_stats: readonly { readonly batch_size: number | string }[];
    }[];
  };
  readonly everyStatistic: { readonly model_stats: readonly unknown[] };
  readonly index: unknown;
  readonly indexUnloaded: unknown;
}

test('tritonclient finds over HTTP and gRPC what it knows of Triton', async (t) => {
  const python = await requirePython(t, TRITON);
  if (python === undefined) return;
  const house = await openServedHouse();
  const owner = await buildServer(house.guardian, { trust: 'local' });
  const keyOf = async (label: string, roles: Role[]) => {
    const made = await owner.inject({ method: 'POST', url: '/v1/access', payload: { label, roles } });
    return made.json<{ key: string }>().key;
  };
  const keys = [await keyOf('reader', ['viewer']), await keyOf('operator', ['operator'])];
  const http = await listenHttp(house.guardian, { host: '127.0.0.1', port: 0, grpcPort: 0 });
  const { columns } = house.schema.schema;
  const rows = [1, 7].map((packets) => columns.map(({ name }) => (name === 'forward_packets' ? packets : 0)));
  const { code, output } = await runProgram(python, [
    SCRIPT,
    http.url.replace('http://', ''),
    http.grpc ?? '',
    ...keys,
    'flow',
    '1.0.0',
    JSON.stringify(rows),
  ]);
  await http.close();
  const { entries } = (await owner.inject('/v1/audit?limit=1000')).json<{
    entries: { entry: { action: string; kind: string } }[];
  }>();
  await owner.close();
  await house.close();
  assert.equal(code, 0, output);
  const told = JSON.parse(output.trim().split('\n').at(-1) as string) as Record<
    'http' | 'grpc',
    Told & Record<string, unknown>
  >;

  for (const [protocol, each] of Object.entries(told)) {
    assert.deepEqual(
      [each.live, each.ready, each.modelReady, each.versionReady, each.otherReady],
      [true, true, true, true, false],
      protocol,
    );
    assert.deepEqual([each.unloaded, each.loaded], [false, true], protocol);
    assert.equal(each.server.name, 'ai-guardian');
    assert.deepEqual(each.server.extensions, ['binary_tensor_data', 'model_repository', 'statistics']);
    assert.deepEqual([each.model.name, each.model.versions], ['flow', ['1.0.0']]);
    assert.deepEqual(each.model.inputs[0]?.datatype, 'FP32');
    assert.equal(each.id, '42');
    const ways =
      protocol === 'http'
        ? ['json', 'binary', 'mixed', 'implicit', 'parallel']
        : ['binary', 'typed', 'deadline'];
    for (const way of ways) {
      const { probability, verdict, kind } = each[way] as Outputs;
      assert.ok((probability[0] ?? 1) < 0.05 && (probability[1] ?? 0) > 0.95, `${protocol} ${way}`);
      assert.deepEqual(verdict, ['benign', 'attack'], `${protocol} ${way}`);
      assert.deepEqual(kind, ['', 'port-scan'], `${protocol} ${way}`);
    }
    const [model] = each.statistics.model_stats;
    assert.ok(Number(model?.inference_count) >= 6, `${protocol}: ${model?.inference_count}`);
    assert.equal(Number(model?.inference_stats.success?.count) * 2, Number(model?.inference_count));
    assert.equal(Number(model?.batch_stats[0]?.batch_size), 2);
  }

  const { stream } = told.grpc;
  assert.equal(stream.length, 20);
  assert.match(stream[7]?.error ?? '', /no model none/);
  assert.deepEqual(
    stream.filter((_, i) => i !== 7).map(({ id }) => Number(id)),
    Array.from({ length: 20 }, (_, i) => i).filter((i) => i !== 7),
    'in order',
  );
  assert.equal(told.http.everyStatistic.model_stats.length, 1);
  const ready = { name: 'flow', version: '1.0.0', state: 'READY', reason: '' };
  assert.deepEqual(told.http.index, [ready]);
  assert.deepEqual(told.http.indexUnloaded, [{ ...ready, state: 'UNAVAILABLE', reason: 'not loaded' }]);
  assert.deepEqual(told.grpc.index, { models: [{ name: 'flow', version: '1.0.0', state: 'READY' }] });

  const statuses = (each: Told) =>
    Object.fromEntries(Object.entries(each.errors).map(([name, error]) => [name, error?.status]));
  assert.deepEqual(statuses(told.http), {
    ...{ unknown: '404', version: '404', width: '400', key: '401', role: '403', override: '400' },
  });
  assert.deepEqual(statuses(told.grpc), {
    unknown: 'StatusCode.NOT_FOUND',
    version: 'StatusCode.NOT_FOUND',
    key: 'StatusCode.UNAUTHENTICATED',
    wrong: 'StatusCode.UNAUTHENTICATED',
    role: 'StatusCode.PERMISSION_DENIED',
    override: 'StatusCode.INVALID_ARGUMENT',
  });
  assert.match(told.http.errors.override?.message ?? '', /the parameter (config|file:) is refused/);

  const audited = entries.filter(({ entry }) => /^model\.(un)?load$/.test(entry.action));
  assert.equal(audited.length, 8, 'an intent and an outcome of each load and unload');
});
