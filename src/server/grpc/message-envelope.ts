/** Tags of what may be long in a `ModelInferRequest`: field number and wire type 2. */
const INPUT = (5 << 3) | 2;
const RAW_CONTENTS = (7 << 3) | 2;
/** In an input. */
const CONTENTS = (5 << 3) | 2;
/** In contents: packed floats. */
const FLOATS = (6 << 3) | 2;

/** A length that does not fit in so many bytes of a varint is longer than any message. */
const VARINT_BYTES = 4;

interface Place {
  at: number;
}

/**
 * Bytes of an encoded `ModelInferRequest` that are no values: names, shapes, parameters and whatever else it holds. Decoding
 * makes objects of those, hundreds of times their size, so they are counted before it. What does not look as the message's
 * own encoders write it counts in full.
 */
export function envelopeBytes(message: Uint8Array): number {
  return countRegion(message, 0, message.length, 0);
}

/** Bytes of [from, to) that are no values, at a depth: 0 is the request, 1 an input, 2 its contents. */
function countRegion(bytes: Uint8Array, from: number, to: number, depth: number): number {
  const place: Place = { at: from };
  let count = 0;
  while (place.at < to) {
    const start = place.at;
    const tag = readVarint(bytes, place, to);
    const length = (tag & 7) === 2 ? readVarint(bytes, place, to) : -1;
    const end = place.at + length;
    if (length < 0 || end > to) return count + to - start;
    count += place.at - start;
    const isValues = tag === (depth === 0 ? RAW_CONTENTS : FLOATS) && depth !== 1;
    const isInner = (depth === 0 && tag === INPUT) || (depth === 1 && tag === CONTENTS);
    if (isInner) count += countRegion(bytes, place.at, end, depth + 1);
    else if (!isValues) count += length;
    place.at = end;
  }
  return count;
}

/** -1 where it is longer than `VARINT_BYTES` or ends too late. */
function readVarint(bytes: Uint8Array, place: Place, to: number): number {
  let value = 0;
  for (let i = 0; i < VARINT_BYTES && place.at < to; i++) {
    const byte = bytes[place.at++] as number;
    value |= (byte & 0x7f) << (7 * i);
    if (byte < 0x80) return value;
  }
  return -1;
}
