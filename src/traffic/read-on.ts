import type { FileHandle } from 'node:fs/promises';
import type { Bytes } from '../base/index.ts';
import { TrafficError } from './errors.ts';

const READ_SIZE: Bytes = 1 << 18;

/** Up to 256 KiB of a file from `position` on, none at its end. Throws `traffic.read-failed`, which names the path. */
export async function readOn(
  file: FileHandle,
  position: Bytes,
  path: string,
): Promise<Uint8Array<ArrayBuffer>> {
  try {
    const buffer = new Uint8Array(READ_SIZE);
    const { bytesRead } = await file.read(buffer, 0, READ_SIZE, position);
    return buffer.subarray(0, bytesRead);
  } catch (cause) {
    throw new TrafficError('traffic.read-failed', `expected to read on in ${path}`, { cause });
  }
}
