import { TrainingError } from '../errors.ts';

/** What a step has come to, as named arrays. */
export type StepArrays = Readonly<Record<string, StateArray>>;

export type StateArray = Uint8Array | Uint16Array | Uint32Array | Float32Array | Float64Array;

const TYPES = { Uint8Array, Uint16Array, Uint32Array, Float32Array, Float64Array } as const;
type TypeName = keyof typeof TYPES;

/** Each step with its arrays: name, type, length. */
type Contents = readonly (readonly [string, readonly (readonly [string, TypeName, number])[]])[];

/** First bytes; the digit is the version of the format. */
export const STATE_MAGIC = 'ai-guardian training state 1\n';
const ALIGN = 8;

/** Writes steps as bytes: the magic, the length of the contents (uint32, little endian), contents as JSON, arrays from multiples of 8. */
export function encodeState(steps: ReadonlyMap<string, StepArrays>): Uint8Array {
  const contents: Contents = [...steps].map(([step, arrays]) => [
    step,
    Object.entries(arrays).map(([name, array]) => [name, typeName(array), array.length] as const),
  ]);
  const header = Buffer.from(JSON.stringify(contents));
  const arrays = [...steps.values()].flatMap((each) => Object.values(each));
  const start = aligned(STATE_MAGIC.length + 4 + header.length);
  const state = new Uint8Array(arrays.reduce((sum, { byteLength }) => sum + aligned(byteLength), start));
  state.set(Buffer.from(STATE_MAGIC));
  new DataView(state.buffer).setUint32(STATE_MAGIC.length, header.length, true);
  state.set(header, STATE_MAGIC.length + 4);
  let at = start;
  for (const { buffer, byteOffset, byteLength } of arrays) {
    state.set(new Uint8Array(buffer, byteOffset, byteLength), at);
    at += aligned(byteLength);
  }
  return state;
}

/** Reads what `encodeState` wrote, into arrays of their own. Throws `training.checkpoint-unreadable` for another version. */
export function decodeState(state: Uint8Array): Map<string, StepArrays> {
  const magic = Buffer.from(state.subarray(0, STATE_MAGIC.length)).toString('latin1');
  if (magic !== STATE_MAGIC) {
    throw new TrainingError(
      'training.checkpoint-unreadable',
      'expected the state of a training run, version 1',
    );
  }
  try {
    return readSteps(state);
  } catch (cause) {
    throw new TrainingError('training.checkpoint-unreadable', 'the state of the run ends early', { cause });
  }
}

function readSteps(state: Uint8Array): Map<string, StepArrays> {
  const from = STATE_MAGIC.length + 4;
  const length = new DataView(state.buffer, state.byteOffset).getUint32(STATE_MAGIC.length, true);
  const contents = JSON.parse(Buffer.from(state.subarray(from, from + length)).toString()) as Contents;
  let at = aligned(from + length);
  const take = (type: TypeName, count: number): StateArray => {
    const array = new TYPES[type](count);
    new Uint8Array(array.buffer).set(state.slice(at, at + array.byteLength));
    if (at + array.byteLength > state.length) throw new RangeError('beyond the end');
    at += aligned(array.byteLength);
    return array;
  };
  return new Map(
    contents.map(([step, arrays]) => [
      step,
      Object.fromEntries(arrays.map(([name, type, count]) => [name, take(type, count)])),
    ]),
  );
}

function typeName(array: StateArray): TypeName {
  return array.constructor.name as TypeName;
}

function aligned(length: number): number {
  return Math.ceil(length / ALIGN) * ALIGN;
}
