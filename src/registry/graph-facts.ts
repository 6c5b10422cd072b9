import { z } from 'zod';
import { canonicalJson } from '../crypto/index.ts';
import { type DetectionModel, describeGraph, type GraphFacts, GraphModel } from '../models/index.ts';

const numbers = z.record(z.string().max(256), z.int().min(0));

const CONFIGURATION = z.object({
  graph: z.strictObject({
    format: z.literal('onnx'),
    irVersion: z.int().min(0),
    producer: z.string().max(128),
    opsets: numbers,
    operators: numbers,
  }),
});

/**
 * A configuration that says, where the model is a foreign graph, what the graph is made of: `graph` is read from its bytes.
 * Undefined where the submitter says otherwise.
 */
export function withGraphFacts(configuration: unknown, model: DetectionModel): unknown {
  if (!(model instanceof GraphModel)) return configuration;
  const graph = describeGraph(model.parts.graph);
  const isObject =
    typeof configuration === 'object' && configuration !== null && !Array.isArray(configuration);
  const given = isObject ? configuration : { given: configuration };
  if ('graph' in given && canonicalJson(given.graph) !== canonicalJson(graph)) return undefined;
  return { ...given, graph };
}

/** What a manifest's configuration says of a foreign graph; undefined for other models. */
export function graphFactsOf(configuration: unknown): GraphFacts | undefined {
  return CONFIGURATION.safeParse(configuration).data?.graph;
}
