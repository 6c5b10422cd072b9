import type { Bytes } from '../../base/index.ts';
import type { DetectionModel } from '../../models/index.ts';

/** What a model takes besides its arrays: objects, names, the pages of its kernel. */
const OVERHEAD_BYTES: Bytes = 128 * 1024;
const MAX_DEPTH = 8;

/**
 * About what a model takes in memory: every buffer that its public parts lead to, once, and as much again for the copy
 * in the order of the kernel that scoring makes of them.
 */
export function measureModel(model: DetectionModel): Bytes {
  const buffers = new Set<ArrayBufferLike>();
  collect(model, buffers, new Set(), MAX_DEPTH);
  let bytes = 0;
  for (const { byteLength } of buffers) bytes += byteLength;
  return 2 * bytes + OVERHEAD_BYTES;
}

function collect(value: unknown, buffers: Set<ArrayBufferLike>, seen: Set<unknown>, depth: number): void {
  if (typeof value !== 'object' || value === null || depth === 0 || seen.has(value)) return;
  seen.add(value);
  if (ArrayBuffer.isView(value)) buffers.add(value.buffer);
  else for (const inner of Object.values(value)) collect(inner, buffers, seen, depth - 1);
}
