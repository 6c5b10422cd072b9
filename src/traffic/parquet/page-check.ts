/** What the pages of one column may hold. */
export interface PageLimits {
  readonly maxValues: number;
  readonly maxPageBytes: number;
}

/** Types of Thrift's compact protocol. */
const TRUE = 1;
const FALSE = 2;
const BYTE = 3;
const DOUBLE = 7;
const BINARY = 8;
const LIST = 9;
const SET = 10;
const MAP = 11;
const STRUCT = 12;
const MAX_DEPTH = 8;

/** Fields of PageHeader, and of the headers in it, that say how large something is. */
const UNCOMPRESSED = 2;
const COMPRESSED = 3;
const HEADERS: ReadonlySet<number> = new Set([5, 7, 8]);
const NUM_VALUES = 1;

/**
 * Walks the page headers of a column chunk before anybody decodes it, so that no header makes a reader allocate more than
 * the row group can hold (Parquet format, PageHeader; Thrift compact protocol). Throws a RangeError that says what
 * is wrong.
 */
export function checkPages(chunk: Uint8Array, { maxValues, maxPageBytes }: PageLimits): void {
  const reader = new CompactReader(chunk);
  while (reader.at < chunk.length) {
    const sizes = reader.pageHeader();
    if (sizes.values < 0 || sizes.values > maxValues) {
      throw new RangeError(`a page of ${sizes.values} values, expected at most ${maxValues}`);
    }
    if (sizes.uncompressed < 0 || sizes.uncompressed > maxPageBytes) {
      throw new RangeError(`a page of ${sizes.uncompressed} bytes, expected at most ${maxPageBytes}`);
    }
    if (sizes.compressed < 0 || sizes.compressed > chunk.length - reader.at) {
      throw new RangeError('a page that reaches beyond its column');
    }
    reader.at += sizes.compressed;
  }
}

class CompactReader {
  readonly #bytes: Uint8Array;
  at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  pageHeader(): { readonly uncompressed: number; readonly compressed: number; readonly values: number } {
    let [uncompressed, compressed, values] = [-1, -1, 0];
    this.#fields((field, type) => {
      if (field === UNCOMPRESSED && type < BINARY) uncompressed = this.#zigzag();
      else if (field === COMPRESSED && type < BINARY) compressed = this.#zigzag();
      else if (HEADERS.has(field) && type === STRUCT) {
        this.#fields((inner, innerType) => {
          if (inner === NUM_VALUES && innerType < BINARY) values = this.#zigzag();
          else this.#skip(innerType, 1);
        });
      } else this.#skip(type, 1);
    });
    return { uncompressed, compressed, values };
  }

  /** Calls `take` for each field of a struct; it has to read the value. */
  #fields(take: (field: number, type: number) => void): void {
    for (let field = 0; ; ) {
      const byte = this.#byte();
      const type = byte & 15;
      if (type === 0) return;
      field = byte >>> 4 === 0 ? this.#zigzag() : field + (byte >>> 4);
      take(field, type);
    }
  }

  #skip(type: number, depth: number): void {
    if (depth > MAX_DEPTH) throw new RangeError('a page header nested too deep');
    if (type === TRUE || type === FALSE) return;
    if (type === BYTE) this.#byte();
    else if (type < DOUBLE) this.#varint();
    else if (type === DOUBLE) this.at += 8;
    else if (type === BINARY) this.at += this.#varint();
    else if (type === STRUCT) this.#fields((_, inner) => this.#skip(inner, depth + 1));
    else if (type === LIST || type === SET) this.#skipList(depth);
    else throw new RangeError(type === MAP ? 'a map in a page header' : 'an unknown type in a page header');
  }

  #skipList(depth: number): void {
    const byte = this.#byte();
    const length = byte >>> 4 === 15 ? this.#varint() : byte >>> 4;
    const type = byte & 15;
    if (length > this.#bytes.length - this.at) throw new RangeError('a list longer than its page');
    for (let i = 0; i < length; i++) {
      // A flag in a list has a byte of its own.
      if (type === TRUE || type === FALSE) this.#byte();
      else this.#skip(type, depth + 1);
    }
  }

  #zigzag(): number {
    const value = this.#varint();
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }

  #varint(): number {
    let value = 0;
    for (let scale = 1; scale < 2 ** 49; scale *= 128) {
      const byte = this.#byte();
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
    throw new RangeError('a number of more than 49 bits in a page header');
  }

  #byte(): number {
    const byte = this.#bytes[this.at++];
    if (byte === undefined) throw new RangeError('a page header that does not end');
    return byte;
  }
}
