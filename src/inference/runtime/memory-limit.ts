import { mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Bytes } from '../../base/index.ts';
import { Cgroup } from '../../monitor/index.ts';

/** Says what holds a process to its memory, and lets go of it. */
export interface MemoryLimit {
  /** `cgroup`: the kernel does; `watch`: whoever started it looks at it. */
  readonly kind: 'cgroup' | 'watch';
  /** To be called once the process has ended. */
  end(): void;
}

const PREFIX = 'guardian-onnx-';
const WATCHED: MemoryLimit = { kind: 'watch', end: () => {} };

/**
 * Puts a process into a control group of its own below this one's, version 1 or 2, where that is allowed: it needs root, or
 * a group that was delegated. Elsewhere its resident memory has to be watched. `root` stands for `/`.
 */
export function limitMemory(pid: number, bytes: Bytes, root = '/'): MemoryLimit {
  let own: Cgroup;
  try {
    own = new Cgroup(root);
  } catch {
    return WATCHED;
  }
  const { version, memoryFolder } = own;
  own.close();
  if (memoryFolder === undefined) return WATCHED;
  const folder = join(memoryFolder, `${PREFIX}${pid}`);
  try {
    removeEmptyGroups(memoryFolder);
    mkdirSync(folder);
    if (version === 1) writeFileSync(join(folder, 'memory.limit_in_bytes'), `${bytes}`);
    else limitUnified(memoryFolder, folder, bytes);
    writeFileSync(join(folder, 'cgroup.procs'), `${pid}`);
  } catch {
    remove(folder);
    return WATCHED;
  }
  // What the kernel should end first when the machine is out of memory; a wish.
  attempt(() => writeFileSync(join(root, `proc/${pid}/oom_score_adj`), '500'));
  return { kind: 'cgroup', end: () => remove(folder) };
}

/** Resident memory of another process; undefined where this system does not say, or the process has ended. */
export function residentBytes(pid: number, root = '/'): Bytes | undefined {
  try {
    const status = readFileSync(join(root, `proc/${pid}/status`), 'utf8');
    const kib = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1];
    return kib === undefined ? undefined : Number(kib) * 1024;
  } catch {
    return undefined;
  }
}

/** Version 2: the controller has to be handed down first, which only works from a group without processes. */
function limitUnified(parent: string, folder: string, bytes: Bytes): void {
  if (!/\bmemory\b/.test(readFileSync(join(folder, 'cgroup.controllers'), 'utf8'))) {
    writeFileSync(join(parent, 'cgroup.subtree_control'), '+memory');
  }
  writeFileSync(join(folder, 'memory.max'), `${bytes}`);
  attempt(() => writeFileSync(join(folder, 'memory.swap.max'), '0'));
}

/** Left behind by a parent that was killed; a group with a process in it stays. */
function removeEmptyGroups(parent: string): void {
  for (const name of readdirSync(parent)) if (name.startsWith(PREFIX)) remove(join(parent, name));
}

function remove(folder: string): void {
  attempt(() => rmdirSync(folder));
}

function attempt(work: () => void): void {
  try {
    work();
  } catch {
    // What is not allowed here is not there.
  }
}
