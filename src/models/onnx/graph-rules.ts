import type { Bytes } from '../../base/index.ts';
import { ModelError } from '../errors.ts';
import { decodeOnnx, ONNX_TYPE, type OnnxModel, type OnnxValue } from './onnx-graph.ts';

/** Where a graph says how likely an attack is. */
export interface GraphOutput {
  /** A tensor of rows, rows x 1, or rows x classes. */
  readonly name: string;
  /** Which of the classes is an attack; 0 where there is one column. */
  readonly column: number;
  /** Whether it is a probability, or log-odds. */
  readonly link: 'probability' | 'margin';
}

/** Of a graph that is loaded, in bytes and nodes; a model of trees has a handful of nodes. */
export const MAX_GRAPH_BYTES: Bytes = 256 * 1024 * 1024;
const MAX_GRAPH_NODES = 10_000;

/** There are some 220. */
const MAX_OPERATORS = 256;
const OPERATOR = /^[A-Za-z]\w{0,63}$/;

/** Operators of the standard and of its part for classical models; what a runtime adds of its own is not portable. */
const DOMAINS = new Set(['', 'ai.onnx', 'ai.onnx.ml']);

/**
 * Checks a graph before any runtime sees it: size, no other files, no operators or graphs of its own, one input of float32
 * rows x columns, and the output that is asked for. Throws `models.malformed`, `models.onnx-refused`.
 */
export function checkGraph(bytes: Uint8Array, columns: number, output: GraphOutput): OnnxModel {
  if (bytes.length > MAX_GRAPH_BYTES) {
    throw refused(`it has ${bytes.length} bytes, at most ${MAX_GRAPH_BYTES} are read`);
  }
  const model = decodeOnnx(bytes);
  const { nodes, inputs, outputs, opsets, initializers } = model;
  if (nodes.length === 0 || nodes.length > MAX_GRAPH_NODES) {
    throw refused(`it has ${nodes.length} nodes, expected 1 to ${MAX_GRAPH_NODES}`);
  }
  for (const domain of [...Object.keys(opsets), ...nodes.map((node) => node.domain)]) {
    if (!DOMAINS.has(domain)) throw refused(`it uses operators of ${JSON.stringify(domain)}`);
  }
  const names = new Set(nodes.map(({ op }) => op));
  if (names.size > MAX_OPERATORS || ![...names].every((name) => OPERATOR.test(name))) {
    throw refused(`expected names of at most ${MAX_OPERATORS} operators`);
  }
  // Up to IR version 3 initializers stand among the inputs, too.
  const constants = new Set(initializers.map(({ name }) => name));
  const [input, ...others] = inputs.filter(({ name }) => !constants.has(name));
  if (input === undefined || others.length > 0) throw refused('expected one input of rows x columns');
  checkInput(input, columns);
  checkOutput(
    outputs.find(({ name }) => name === output.name),
    output,
  );
  return model;
}

/** What somebody says of a graph's output; the rest is found where there is one answer. */
export interface OutputWish {
  readonly name?: string | undefined;
  readonly column?: number | undefined;
  readonly link: GraphOutput['link'];
}

/**
 * The output that gives the probability or the log-odds: the named one, else the only tensor of numbers, else the only one whose
 * name speaks of probability; its last column of two, or its only one. Throws `models.malformed`, `models.onnx-refused`.
 */
export function chooseOutput(bytes: Uint8Array, { name, column, link }: OutputWish): GraphOutput {
  const { outputs, nodes } = decodeOnnx(bytes);
  if (nodes.some(({ op }) => op === 'ZipMap')) {
    throw refused('it ends in ZipMap, whose output is no tensor; convert it with zipmap=False');
  }
  const numbers = outputs.filter(({ type }) => type === ONNX_TYPE.float || type === ONNX_TYPE.double);
  const likely = numbers.filter((each) => /prob/i.test(each.name));
  const among = name === undefined ? numbers : outputs.filter((each) => each.name === name);
  const [found, ...others] = among.length > 1 && likely.length === 1 ? likely : among;
  if (found === undefined || others.length > 0) {
    const names = outputs.map((each) => JSON.stringify(each.name.slice(0, 64))).join(', ');
    throw refused(
      name === undefined
        ? `which of its outputs speaks of attacks must be said: it has ${names}`
        : `it has no output of that name, but ${names}`,
    );
  }
  const width = found.dims.length < 2 ? 1 : found.dims[1];
  const usual = typeof width === 'number' && width <= 2 ? width - 1 : undefined;
  const chosen = column ?? usual;
  if (chosen === undefined) {
    throw refused(
      `its output ${found.name} has ${width || 'any number of'} columns: which is the attack must be said`,
    );
  }
  return { name: found.name, column: chosen, link };
}

function checkInput({ name, type, dims }: OnnxValue, columns: number): void {
  const [rows, width] = dims;
  if (type !== ONNX_TYPE.float || dims.length !== 2 || typeof rows === 'number') {
    throw refused(`expected the input ${name} to be float32, any number of rows x ${columns}`);
  }
  if (typeof width === 'number' && width !== columns) {
    throw refused(`its input has ${width} columns, the schema ${columns}`);
  }
}

function checkOutput(found: OnnxValue | undefined, { name, column }: GraphOutput): void {
  if (found === undefined) throw refused(`it has no output ${name}`);
  const { type, dims } = found;
  if (type !== ONNX_TYPE.float && type !== ONNX_TYPE.double) {
    throw refused(`its output ${name} is no tensor of float32 or float64`);
  }
  // A shape that is left out is found by the first batch.
  const classes = dims[1] ?? 1;
  if (dims.length > 2 || (typeof classes === 'number' && dims.length > 0 && column >= classes)) {
    throw refused(`its output ${name} has no column ${column}`);
  }
}

function refused(why: string): ModelError {
  return new ModelError('models.onnx-refused', `the graph is not loaded: ${why}`);
}
