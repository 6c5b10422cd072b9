import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ManualClock, SeededRandom } from '../../src/base/index.ts';
import { configurationSchema } from '../../src/configuration.ts';
import { sha256 } from '../../src/crypto/index.ts';
import { type LoadedSchema, loadSchema, schemaBytes } from '../../src/features/index.ts';
import { type Guardian, openGuardian } from '../../src/guardian/index.ts';
import { BoostedModel, encodeModel, fitStatistics, type TreeEnsemble } from '../../src/models/index.ts';
import type { Candidate } from '../../src/registry/index.ts';

const TESTER = { principal: 'tester' };

/** A guardian in a folder of its own, with a small model of flow-core as champion `flow`. */
export interface ServedHouse {
  readonly guardian: Guardian;
  readonly clock: ManualClock;
  readonly schema: LoadedSchema;
  close(): Promise<void>;
}

export async function openServedHouse(
  options: {
    readonly withModel?: boolean;
    /** As in `guardian.yaml`. */
    readonly config?: Readonly<Record<string, unknown>>;
    /** Where its clock stands at first. */
    readonly now?: number;
  } = {},
): Promise<ServedHouse> {
  const folder = mkdtempSync(join(tmpdir(), 'guardian-'));
  const clock = new ManualClock(options.now);
  const guardian = await openGuardian({
    stateFolder: join(folder, 'state'),
    configFolder: join(folder, 'config'),
    config: configurationSchema.parse(options.config ?? {}),
    origins: new Map([['server.port', 'default']]),
    clock,
  });
  const schema = await loadSchema('flow-core');
  if (options.withModel !== false) {
    const { version } = await guardian.registry.publish(flowCandidate(schema), TESTER);
    await guardian.promote('flow', version, 'champion', TESTER);
  }
  return {
    guardian,
    clock,
    schema,
    close: async () => {
      await guardian.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Calls a flow an attack, and a port-scan, whose initiator sent more than some twenty packets. */
export function flowCandidate(schema: LoadedSchema, name = 'flow', bias = 0): Candidate {
  const { columns, sourceKinds } = schema.schema;
  const categories = columns.map((column) => column.categories?.length ?? 0);
  const feature = columns.findIndex((column) => column.name === 'forward_packets');
  const random = new SeededRandom(1);
  const rows = Float32Array.from({ length: 20 * columns.length }, (_, i) =>
    categories[i % columns.length] === 0 ? random.uniform(0, 10) : 0,
  );
  const modelBytes = encodeModel(
    new BoostedModel({
      schemaId: schema.id,
      sourceKinds,
      columns: columns.map((column, i) => ({ name: column.name, categories: categories[i] as number })),
      kinds: ['port-scan'],
      threshold: 0.5,
      bias,
      detector: stump(feature),
      calibration: { kind: 'platt', slope: 1, intercept: 0 },
      kindStage: { biases: [0], treeCounts: [1], ensemble: stump(feature) },
      statistics: fitStatistics(rows, 20, categories, [feature]),
    }),
  );
  return {
    name,
    modelBytes,
    schemaBytes: schemaBytes(schema.schema),
    gateReport: {
      v: 1,
      passed: true,
      gates: [{ name: 'accuracy', passed: true, value: 0.9, threshold: 0.8, comparison: '>=' }],
      dataDigest: sha256('gate data'),
      modelDigest: sha256(modelBytes),
      metrics: {},
      createdAt: '2026-01-01T00:00:00.000Z',
    },
    provenance: {
      dataDigest: sha256('training data'),
      sourceKinds,
      configuration: {},
      seed: 1,
      trainer: 'fixture',
    },
  };
}

/** One split of forward_packets, which is given as log1p. */
function stump(feature: number): TreeEnsemble {
  return {
    roots: Uint32Array.of(0),
    child: Uint32Array.of(1, 0, 0),
    feature: Uint16Array.of(feature, 0, 0),
    value: Float32Array.of(3, -4, 4),
    flags: Uint8Array.of(0, 0, 0),
    block: Uint32Array.of(0, 0, 0),
    cover: Uint32Array.of(20, 10, 10),
    bitsets: new Uint32Array(0),
  };
}

/** A flow as a client sends it; `fields` replace its own. */
export function sentFlow(fields: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  const startMs = Date.UTC(2026, 0, 1);
  return {
    sourceKind: 'packets',
    protocol: 6,
    sourceAddress: '198.51.100.7',
    destinationAddress: '192.0.2.10',
    sourcePort: 40_000,
    destinationPort: 443,
    startMs,
    endMs: startMs + 500,
    forward: { packets: 4, bytes: 400, payloadBytes: 100, tcpFlags: 27 },
    backward: { packets: 4, bytes: 900, payloadBytes: null, tcpFlags: 27 },
    state: 'SF',
    endReason: 'tcp-end',
    ...fields,
  };
}

/** One that the small model calls an attack. */
export function sentAttack(fields: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return sentFlow({ forward: { packets: 1000, bytes: 60_000, payloadBytes: 0, tcpFlags: 2 }, ...fields });
}
