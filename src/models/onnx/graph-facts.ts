import { decodeOnnx } from './onnx-graph.ts';

/** What a foreign graph is made of, for a bill of materials. */
export interface GraphFacts {
  readonly format: 'onnx';
  /** Of the file's format. */
  readonly irVersion: number;
  /** What wrote the file, as it says of itself; printable, 128 characters at most. */
  readonly producer: string;
  /** Version of the set of operators, by domain. */
  readonly opsets: Readonly<Record<string, number>>;
  /** How many nodes there are of each operator, `ai.onnx.ml:TreeEnsembleClassifier`, in the order of their names. */
  readonly operators: Readonly<Record<string, number>>;
}

const PRODUCER_CHARACTERS = 128;
/** The standard domain has an empty name in the file. */
const STANDARD = 'ai.onnx';

/** Reads them from a ModelProto that `checkGraph` has let in. Throws `models.malformed`, `models.onnx-refused`. */
export function describeGraph(bytes: Uint8Array): GraphFacts {
  const { irVersion = 0, producer, opsets, nodes } = decodeOnnx(bytes);
  const counts = new Map<string, number>();
  for (const { domain, op } of nodes) {
    const name = `${domain || STANDARD}:${op}`;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return {
    format: 'onnx',
    irVersion,
    producer: `${producer?.name ?? ''} ${producer?.version ?? ''}`
      .replaceAll(/[^\x20-\x7e]/g, '?')
      .trim()
      .slice(0, PRODUCER_CHARACTERS),
    opsets: sorted(Object.entries(opsets).map(([domain, version]) => [domain || STANDARD, version])),
    operators: sorted([...counts]),
  };
}

function sorted(entries: readonly (readonly [string, number])[]): Readonly<Record<string, number>> {
  return Object.fromEntries([...entries].sort(([a], [b]) => (a < b ? -1 : 1)));
}
