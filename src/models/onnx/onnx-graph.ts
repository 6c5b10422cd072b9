import { ModelError } from '../errors.ts';
import {
  asNumber,
  type ProtobufField,
  ProtobufWriter,
  readFields,
  readFloats,
  readIntegers,
} from './protobuf.ts';

/** Element types of ONNX that are used here (TensorProto.DataType). */
export const ONNX_TYPE = { float: 1, int32: 6, int64: 7, bool: 9, double: 11 } as const;

export interface OnnxTensor {
  readonly name: string;
  /** One of `ONNX_TYPE`. */
  readonly type: number;
  readonly dims: readonly number[];
  /** Row-major. */
  readonly values: readonly number[] | Float64Array;
}

export type OnnxAttribute = number | string | OnnxTensor | readonly number[] | readonly string[];

export interface OnnxNode {
  readonly op: string;
  /** '' is the standard domain, 'ai.onnx.ml' the one of trees. */
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, OnnxAttribute>>;
}

export interface OnnxValue {
  readonly name: string;
  readonly type: number;
  /** A text is a variable size. */
  readonly dims: readonly (number | string)[];
}

/** The part of an ONNX model that trees and what stands around them need. */
export interface OnnxModel {
  /** Of the file's format; written is always the same. */
  readonly irVersion?: number;
  /** What wrote the file, as it says of itself. */
  readonly producer?: { readonly name: string; readonly version: string };
  readonly opsets: Readonly<Record<string, number>>;
  readonly metadata: Readonly<Record<string, string>>;
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
  readonly initializers: readonly OnnxTensor[];
  readonly nodes: readonly OnnxNode[];
}

const IR_VERSION = 8;
const ATTRIBUTE_TYPE = { float: 1, int: 2, string: 3, tensor: 4, floats: 6, ints: 7, strings: 8 } as const;

/** A number among attributes that is to be written as a float although it is whole. */
const FLOAT_ATTRIBUTES = new Set(['alpha', 'beta', 'epsilon']);
/** Lists that are floats although each may be whole. */
const FLOAT_LISTS = new Set(['nodes_values', 'target_weights', 'class_weights', 'base_values']);

/** Bytes of a ModelProto. */
export function encodeOnnx(model: OnnxModel): Uint8Array {
  const writer = new ProtobufWriter();
  writer.varint(1, IR_VERSION).text(2, 'ai-guardian');
  writer.message(7, (graph) => {
    for (const node of model.nodes) graph.message(1, (w) => writeNode(w, node));
    graph.text(2, 'model');
    for (const tensor of model.initializers) graph.message(5, (w) => writeTensor(w, tensor));
    for (const input of model.inputs) graph.message(11, (w) => writeValue(w, input));
    for (const output of model.outputs) graph.message(12, (w) => writeValue(w, output));
  });
  for (const [domain, version] of Object.entries(model.opsets)) {
    writer.message(8, (w) => w.text(1, domain).varint(2, version));
  }
  for (const [key, value] of Object.entries(model.metadata)) {
    writer.message(14, (w) => w.text(1, key).text(2, value));
  }
  return writer.finish();
}

/**
 * Reads a ModelProto. Throws `models.malformed`, and `models.onnx-refused` for what is never loaded: tensors kept in
 * other files, and operators that the model brings along.
 */
export function decodeOnnx(bytes: Uint8Array): OnnxModel {
  const producer = { name: '', version: '' };
  const model = {
    irVersion: 0,
    producer,
    opsets: {} as Record<string, number>,
    metadata: {} as Record<string, string>,
    inputs: [] as OnnxValue[],
    outputs: [] as OnnxValue[],
    initializers: [] as OnnxTensor[],
    nodes: [] as OnnxNode[],
  };
  for (const field of readFields(bytes)) {
    if (field.field === 7) readGraph(message(field), model);
    else if (field.field === 1) model.irVersion = asNumber(field.varint);
    else if (field.field === 2) producer.name = text(field);
    else if (field.field === 3) producer.version = text(field);
    else if (field.field === 8) {
      const [domain, version] = readPair(field);
      model.opsets[domain] = version;
    } else if (field.field === 14) {
      const [key, value] = readTexts(field);
      model.metadata[key] = value;
    } else if (field.field === 25) throw refused('it defines functions of its own');
    else if (field.field === 20) throw refused('it brings along how it was trained');
  }
  return model;
}

function readGraph(
  bytes: Uint8Array,
  model: { inputs: OnnxValue[]; outputs: OnnxValue[]; initializers: OnnxTensor[]; nodes: OnnxNode[] },
): void {
  for (const field of readFields(bytes)) {
    if (field.field === 1) model.nodes.push(readNode(message(field)));
    else if (field.field === 5) model.initializers.push(readTensor(message(field)));
    else if (field.field === 11) model.inputs.push(readValue(message(field)));
    else if (field.field === 12) model.outputs.push(readValue(message(field)));
    else if (field.field === 15) throw refused('it has sparse tensors');
  }
}

function readNode(bytes: Uint8Array): OnnxNode {
  const inputs: string[] = [];
  const outputs: string[] = [];
  const attributes: Record<string, OnnxAttribute> = Object.create(null);
  let op = '';
  let domain = '';
  for (const field of readFields(bytes)) {
    if (field.field === 1) inputs.push(text(field));
    else if (field.field === 2) outputs.push(text(field));
    else if (field.field === 4) op = text(field);
    else if (field.field === 7) domain = text(field);
    else if (field.field === 5) {
      const [name, value] = readAttribute(message(field));
      if (value !== undefined) attributes[name] = value;
    }
  }
  return { op, domain, inputs, outputs, attributes };
}

function readAttribute(bytes: Uint8Array): [string, OnnxAttribute | undefined] {
  let name = '';
  let single: OnnxAttribute | undefined;
  const numbers: number[] = [];
  const strings: string[] = [];
  let type = 0;
  for (const field of readFields(bytes)) {
    if (field.field === 1) name = text(field);
    else if (field.field === 2) single = readFloats(field)[0];
    else if (field.field === 3) single = asNumber(field.varint);
    else if (field.field === 4) single = text(field);
    else if (field.field === 5) single = readTensor(message(field));
    else if (field.field === 6 || field.field === 11) throw refused('it has graphs inside its nodes');
    else if (field.field === 10 || field.field === 22 || field.field === 23) {
      throw refused('a node has lists of tensors, or sparse ones');
    } else if (field.field === 7) append(numbers, readFloats(field));
    else if (field.field === 8) append(numbers, readIntegers(field));
    else if (field.field === 9) strings.push(text(field));
    else if (field.field === 20) type = asNumber(field.varint);
  }
  if (type === ATTRIBUTE_TYPE.strings || strings.length > 0) return [name, strings];
  if (type === ATTRIBUTE_TYPE.floats || type === ATTRIBUTE_TYPE.ints || numbers.length > 0)
    return [name, numbers];
  return [name, single];
}

function readTensor(bytes: Uint8Array): OnnxTensor {
  let name = '';
  let type = 0;
  const dims: number[] = [];
  const values: number[] = [];
  let raw: Uint8Array | undefined;
  for (const field of readFields(bytes)) {
    if (field.field === 1) append(dims, readIntegers(field));
    else if (field.field === 2) type = asNumber(field.varint);
    else if (field.field === 4) append(values, readFloats(field));
    else if (field.field === 5 || field.field === 7) append(values, readIntegers(field));
    else if (field.field === 8) name = text(field);
    else if (field.field === 9) raw = message(field);
    else if (field.field === 10) append(values, readDoubles(message(field)));
    else if (field.field === 13 || (field.field === 14 && field.varint !== 0n)) {
      throw refused('a tensor is kept in another file');
    }
  }
  const found = raw === undefined ? values : readRaw(raw, type);
  const size = dims.reduce((product, dim) => product * dim, 1);
  if (found.length !== size)
    throw malformed(`tensor ${name} has ${found.length} values for a shape of ${size}`);
  return { name, type, dims, values: found };
}

function readRaw(bytes: Uint8Array, type: number): Float64Array {
  const width: Record<number, number> = { 1: 4, 6: 4, 7: 8, 9: 1, 11: 8 };
  const size = width[type];
  if (size === undefined || bytes.length % size !== 0)
    throw malformed(`a tensor of type ${type} is not read`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Float64Array.from({ length: bytes.length / size }, (_, i) => {
    const at = i * size;
    if (type === ONNX_TYPE.float) return view.getFloat32(at, true);
    if (type === ONNX_TYPE.double) return view.getFloat64(at, true);
    if (type === ONNX_TYPE.int32) return view.getInt32(at, true);
    if (type === ONNX_TYPE.int64) return asNumber(view.getBigInt64(at, true));
    return view.getUint8(at);
  });
}

function readDoubles(bytes: Uint8Array): number[] {
  if (bytes.length % 8 !== 0) throw malformed('a list of doubles is cut off');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Array.from({ length: bytes.length / 8 }, (_, i) => view.getFloat64(i * 8, true));
}

function readValue(bytes: Uint8Array): OnnxValue {
  let name = '';
  let type = 0;
  const dims: (number | string)[] = [];
  for (const field of readFields(bytes)) {
    if (field.field === 1) name = text(field);
    if (field.field !== 2) continue;
    for (const kind of readFields(message(field))) {
      if (kind.field !== 1) continue;
      for (const tensor of readFields(message(kind))) {
        if (tensor.field === 1) type = asNumber(tensor.varint);
        if (tensor.field !== 2) continue;
        for (const dim of readFields(message(tensor))) {
          const [size] = [...readFields(message(dim))];
          dims.push(size?.field === 1 ? asNumber(size.varint) : size === undefined ? '' : text(size));
        }
      }
    }
  }
  return { name, type, dims };
}

function writeNode(writer: ProtobufWriter, node: OnnxNode): void {
  for (const input of node.inputs) writer.text(1, input);
  for (const output of node.outputs) writer.text(2, output);
  writer.text(3, node.outputs[0] ?? node.op).text(4, node.op);
  for (const [name, value] of Object.entries(node.attributes)) {
    writer.message(5, (w) => writeAttribute(w.text(1, name), name, value));
  }
  if (node.domain !== '') writer.text(7, node.domain);
}

function writeAttribute(writer: ProtobufWriter, name: string, value: OnnxAttribute): void {
  if (typeof value === 'number') {
    if (FLOAT_ATTRIBUTES.has(name)) writer.float(2, value).varint(20, ATTRIBUTE_TYPE.float);
    else writer.varint(3, value).varint(20, ATTRIBUTE_TYPE.int);
  } else if (typeof value === 'string') writer.text(4, value).varint(20, ATTRIBUTE_TYPE.string);
  else if (!Array.isArray(value)) {
    writer.message(5, (w) => writeTensor(w, value as OnnxTensor)).varint(20, ATTRIBUTE_TYPE.tensor);
  } else if (typeof value[0] === 'string') {
    for (const item of value) writer.text(9, item as string);
    writer.varint(20, ATTRIBUTE_TYPE.strings);
  } else if (FLOAT_LISTS.has(name)) {
    writer.floats(7, value as number[]).varint(20, ATTRIBUTE_TYPE.floats);
  } else writer.varints(8, value as number[]).varint(20, ATTRIBUTE_TYPE.ints);
}

function writeTensor(writer: ProtobufWriter, { name, type, dims, values }: OnnxTensor): void {
  writer.varints(1, dims).varint(2, type).text(8, name);
  if (type === ONNX_TYPE.float) writer.bytes(9, new Uint8Array(Float32Array.from(values).buffer));
  else if (type === ONNX_TYPE.double) writer.bytes(9, new Uint8Array(Float64Array.from(values).buffer));
  else if (type === ONNX_TYPE.int64) {
    writer.bytes(9, new Uint8Array(BigInt64Array.from(Array.from(values, BigInt)).buffer));
  } else throw malformed(`a tensor of type ${type} is not written`);
}

function writeValue(writer: ProtobufWriter, { name, type, dims }: OnnxValue): void {
  writer.text(1, name).message(2, (kind) =>
    kind.message(1, (tensor) =>
      tensor.varint(1, type).message(2, (shape) => {
        for (const dim of dims) {
          shape.message(1, (w) => (typeof dim === 'number' ? w.varint(1, dim) : w.text(2, dim)));
        }
      }),
    ),
  );
}

/** Like push, for lists longer than a call may have arguments. */
function append(to: number[], values: readonly number[]): void {
  for (const value of values) to.push(value);
}

function message({ wire, bytes }: ProtobufField): Uint8Array {
  if (wire !== 2) throw malformed('expected a message');
  return bytes;
}

function text(field: ProtobufField): string {
  return new TextDecoder().decode(message(field));
}

function readPair(field: ProtobufField): [string, number] {
  let domain = '';
  let version = 0;
  for (const inner of readFields(message(field))) {
    if (inner.field === 1) domain = text(inner);
    if (inner.field === 2) version = asNumber(inner.varint);
  }
  return [domain, version];
}

function readTexts(field: ProtobufField): [string, string] {
  const found = ['', ''];
  for (const inner of readFields(message(field))) {
    if (inner.field === 1 || inner.field === 2) found[inner.field - 1] = text(inner);
  }
  return [found[0] as string, found[1] as string];
}

function malformed(why: string): ModelError {
  return new ModelError('models.malformed', `the ONNX file is not well formed: ${why}`);
}

function refused(why: string): ModelError {
  return new ModelError('models.onnx-refused', `the ONNX file is not loaded: ${why}`);
}
