import { ModelError } from '../errors.ts';

/** Writes the wire format of Protocol Buffers: fields in the order of the calls. */
export class ProtobufWriter {
  readonly #parts: Uint8Array[] = [];

  varint(field: number, value: number | bigint): this {
    this.#key(field, 0);
    this.#varint(BigInt.asUintN(64, BigInt(value)));
    return this;
  }

  float(field: number, value: number): this {
    this.#key(field, 5);
    this.#parts.push(new Uint8Array(Float32Array.of(value).buffer));
    return this;
  }

  bytes(field: number, value: Uint8Array): this {
    this.#key(field, 2);
    this.#varint(BigInt(value.length));
    this.#parts.push(value);
    return this;
  }

  text(field: number, value: string): this {
    return this.bytes(field, new TextEncoder().encode(value));
  }

  message(field: number, write: (writer: ProtobufWriter) => void): this {
    const inner = new ProtobufWriter();
    write(inner);
    return this.bytes(field, inner.finish());
  }

  /** Packed varints. */
  varints(field: number, values: Iterable<number>): this {
    const inner = new ProtobufWriter();
    for (const value of values) inner.#varint(BigInt.asUintN(64, BigInt(value)));
    return this.bytes(field, inner.finish());
  }

  /** Packed floats. */
  floats(field: number, values: ArrayLike<number>): this {
    return this.bytes(field, new Uint8Array(Float32Array.from(values).buffer));
  }

  finish(): Uint8Array {
    const length = this.#parts.reduce((sum, part) => sum + part.length, 0);
    const all = new Uint8Array(length);
    let at = 0;
    for (const part of this.#parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }

  #key(field: number, wire: number): void {
    this.#varint(BigInt((field << 3) | wire));
  }

  #varint(value: bigint): void {
    const bytes: number[] = [];
    let rest = value;
    do {
      const low = Number(rest & 0x7fn);
      rest >>= 7n;
      bytes.push(rest === 0n ? low : low | 0x80);
    } while (rest !== 0n);
    this.#parts.push(Uint8Array.from(bytes));
  }
}

/** One field of a message: a number for the wire types 0, 1 and 5, a view of the input for 2. */
export interface ProtobufField {
  readonly field: number;
  readonly wire: 0 | 1 | 2 | 5;
  /** Wire type 0, as a signed 64-bit number. */
  readonly varint: bigint;
  /** The payload of wire types 1, 2 and 5. */
  readonly bytes: Uint8Array;
}

const NOTHING = new Uint8Array(0);

/** The fields of a message in the order they stand. Throws `models.malformed`, never reads outside `bytes`. */
export function* readFields(bytes: Uint8Array): Generator<ProtobufField> {
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined) return refuse('a number is cut off');
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asIntN(64, value);
    }
    return refuse('a number is too long');
  };
  const take = (length: number): Uint8Array => {
    if (!(length >= 0 && at + length <= bytes.length)) return refuse('a field is longer than its message');
    at += length;
    return bytes.subarray(at - length, at);
  };
  while (at < bytes.length) {
    const key = Number(BigInt.asUintN(32, varint()));
    const field = key >>> 3;
    const wire = key & 7;
    if (field === 0) refuse('a field has number 0');
    if (wire === 0) yield { field, wire, varint: varint(), bytes: NOTHING };
    else if (wire === 1) yield { field, wire, varint: 0n, bytes: take(8) };
    else if (wire === 2) yield { field, wire, varint: 0n, bytes: take(Number(varint())) };
    else if (wire === 5) yield { field, wire, varint: 0n, bytes: take(4) };
    else refuse(`a field has the wire type ${wire}`);
  }
}

/** The values of a repeated integer field, packed or not. */
export function readIntegers({ wire, varint, bytes }: ProtobufField): number[] {
  if (wire === 0) return [asNumber(varint)];
  if (wire !== 2) return refuse('expected integers');
  const values: number[] = [];
  let value = 0n;
  let shift = 0n;
  for (const byte of bytes) {
    value |= BigInt(byte & 0x7f) << shift;
    shift += 7n;
    if (byte >= 0x80) {
      if (shift >= 70n) refuse('a number is too long');
      continue;
    }
    values.push(asNumber(BigInt.asIntN(64, value)));
    value = 0n;
    shift = 0n;
  }
  if (shift !== 0n) refuse('a number is cut off');
  return values;
}

/** The values of a repeated float field, packed or not. */
export function readFloats({ wire, bytes }: ProtobufField): number[] {
  if ((wire !== 2 && wire !== 5) || bytes.length % 4 !== 0) return refuse('expected floats');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(i * 4, true));
}

export function asNumber(value: bigint): number {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : refuse(`the number ${value} is too large`);
}

function refuse(why: string): never {
  throw new ModelError('models.malformed', `the ONNX file is not well formed: ${why}`);
}
