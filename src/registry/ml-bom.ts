import { canonicalJson, sha256Hex } from '../crypto/index.ts';
import type { GraphFacts } from '../models/index.ts';
import { graphFactsOf } from './graph-facts.ts';
import type { Lineage } from './lineage.ts';
import { SIGNATURE_FILE, SIGNED_FILES } from './manifest.ts';
import { figuresOf } from './performance.ts';
import type { VersionRecord } from './records.ts';

type Json = Readonly<Record<string, unknown>>;

/**
 * A CycloneDX 1.6 ML-BOM of one version: the model with its model card, the data it was trained and gated on, the schema,
 * the reports and the signature, each by digest. The same version gives the same bytes: time and serial number come from
 * the signed manifest.
 */
export function machineLearningBom(record: VersionRecord, lineage: Lineage): Json {
  const { manifest, gates, publication } = record;
  const reference = `model:${manifest.name}@${manifest.version}`;
  const refs = {
    training: `data:training:${hex(manifest.dataDigest)}`,
    gates: `data:gates:${hex(gates.dataDigest)}`,
    schema: `file:${SIGNED_FILES.schema}`,
    report: `file:${SIGNED_FILES.gates}`,
    manifest: `file:${SIGNED_FILES.manifest}`,
    signature: `file:${SIGNATURE_FILE}`,
  };
  return {
    $schema: 'http://cyclonedx.org/schema/bom-1.6.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    serialNumber: `urn:uuid:${uuidOf(publication.manifestDigest)}`,
    version: 1,
    metadata: {
      timestamp: manifest.createdAt,
      lifecycles: [{ phase: 'build' }],
      tools: { components: [{ type: 'application', name: manifest.trainer }] },
      authors: [{ name: manifest.author }],
      component: modelComponent(record, lineage, { reference, refs }),
    },
    components: [
      dataset(refs.training, 'training data', hex(manifest.dataDigest)),
      ...(refs.gates === refs.training ? [] : [dataset(refs.gates, 'gate data', hex(gates.dataDigest))]),
      file(refs.manifest, SIGNED_FILES.manifest, hex(publication.manifestDigest)),
      file(refs.report, SIGNED_FILES.gates, hex(manifest.gateReportDigest)),
      file(refs.schema, SIGNED_FILES.schema, hex(manifest.schemaId)),
      file(refs.signature, SIGNATURE_FILE, record.signatureDigest),
    ],
    dependencies: [
      { ref: reference, dependsOn: [...new Set([refs.training, refs.gates, refs.schema])].sort() },
      { ref: refs.report, dependsOn: [refs.gates] },
      { ref: refs.signature, dependsOn: [refs.manifest, refs.report, refs.schema].sort() },
    ],
  };
}

function modelComponent(
  record: VersionRecord,
  lineage: Lineage,
  { reference, refs }: { reference: string; refs: Readonly<Record<'training' | 'gates', string>> },
): Json {
  const { manifest, gates, schema } = record;
  const datasets = [...new Set([refs.training, refs.gates])].map((ref) => ({ ref }));
  const graph = graphFactsOf(manifest.configuration);
  const facts: readonly (readonly [string, string])[] = [
    ['schemaId', manifest.schemaId],
    ['columns', String(schema.columns.length)],
    ['configuration', canonicalJson(manifest.configuration)],
    ['configurationDigest', lineage.data.configuration],
    ['seed', String(manifest.seed)],
    ['gatesPassed', String(gates.passed)],
    ['publishedAtLogIndex', String(lineage.intent)],
    ...(graph === undefined ? [] : graphProperties(graph)),
    ...(lineage.parent === undefined ? [] : [['parent', lineage.parent.version] as const]),
    ...(lineage.predecessor === undefined ? [] : [['predecessor', lineage.predecessor] as const]),
  ];
  return {
    type: 'machine-learning-model',
    'bom-ref': reference,
    name: manifest.name,
    version: manifest.version,
    description: 'Detects attacks in network traffic.',
    hashes: [{ alg: 'SHA-256', content: hex(manifest.weights.digest) }],
    modelCard: {
      'bom-ref': `${reference}#card`,
      modelParameters: {
        approach: { type: 'supervised' },
        task: 'classification',
        architectureFamily: graph === undefined ? 'gradient-boosted decision trees' : 'ONNX graph',
        datasets,
        inputs: manifest.sourceKinds.map((kind) => ({ format: kind })),
        outputs: [{ format: 'calibrated probability of an attack' }],
      },
      quantitativeAnalysis: {
        performanceMetrics: figuresOf(gates).map(({ name, value, low, high }) => ({
          type: name,
          value: String(value),
          slice: 'gate data',
          ...(low === undefined || high === undefined
            ? {}
            : { confidenceInterval: { lowerBound: String(low), upperBound: String(high) } }),
        })),
      },
      considerations: {
        useCases: ['Finding attacks in flow records and packet captures.'],
        technicalLimitations: [
          'Figures hold for traffic like the gate data; other networks differ.',
          `Knows the source kinds ${[...manifest.sourceKinds].sort().join(', ')} and no others.`,
        ],
      },
      properties: gates.gates.map(({ name, passed, value, threshold, comparison }) => ({
        name: `ai-guardian:gate:${name}`,
        value: `${passed ? 'passed' : 'failed'}: ${value} ${comparison} ${threshold}`,
      })),
    },
    properties: facts.map(([name, value]) => ({ name: `ai-guardian:${name}`, value })),
  };
}

/** What the graph needs of a runtime, and who wrote it. */
function graphProperties({
  producer,
  irVersion,
  opsets,
  operators,
}: GraphFacts): (readonly [string, string])[] {
  const list = (counts: Readonly<Record<string, number>>, sign: string) =>
    Object.entries(counts)
      .map(([name, n]) => `${name} ${sign}${n}`)
      .sort()
      .join(', ');
  return [
    ['onnx:producer', producer === '' ? 'unsaid' : producer],
    ['onnx:irVersion', String(irVersion)],
    ['onnx:opsets', list(opsets, '')],
    ['onnx:operators', list(operators, 'x')],
  ];
}

function dataset(reference: string, name: string, digest: string): Json {
  return {
    type: 'data',
    'bom-ref': reference,
    name,
    hashes: [{ alg: 'SHA-256', content: digest }],
    data: [{ type: 'dataset', name }],
  };
}

function file(reference: string, name: string, digest: string): Json {
  return { type: 'file', 'bom-ref': reference, name, hashes: [{ alg: 'SHA-256', content: digest }] };
}

function hex(digest: string): string {
  return digest.slice('sha256:'.length);
}

/** A version 8 UUID (RFC 9562 section 5.8) from the manifest's digest. */
function uuidOf(manifestDigest: string): string {
  const digits = sha256Hex(`cyclonedx 1.6 ${manifestDigest}`);
  const variant = '89ab'[Number.parseInt(digits[16] ?? '0', 16) & 3];
  return [
    digits.slice(0, 8),
    digits.slice(8, 12),
    `8${digits.slice(13, 16)}`,
    `${variant}${digits.slice(17, 20)}`,
    digits.slice(20, 32),
  ].join('-');
}
