import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Bytes } from '../base/index.ts';
import { PseudoFile } from './pseudo-file.ts';

/** Above this a cgroup v1 limit means "none": the kernel writes the largest page-aligned number. */
const NO_LIMIT_BYTES = 2 ** 60;

/** What the control group of this process allows and uses; NaN where it sets no limit or is not there. */
export interface CgroupReading {
  readonly memoryLimitBytes: Bytes;
  /** Without file cache that the kernel can drop. */
  readonly memoryUsedBytes: Bytes;
  /** CPU quota in cores. */
  readonly cpuLimitCores: number;
}

/** The control group of the process, version 2 or 1 (facts: Linux admin guide, cgroup-v2 and cgroup-v1). */
export class Cgroup {
  readonly version: 0 | 1 | 2;
  /** The group's folder that accounts for memory; undefined where there is none. */
  readonly memoryFolder: string | undefined;
  readonly #limit: PseudoFile;
  readonly #usage: PseudoFile;
  readonly #stat: PseudoFile;
  readonly #quota: PseudoFile;
  readonly #period: PseudoFile | undefined;

  /** `root` stands for `/`. */
  constructor(root: string) {
    const groups = readGroups(join(root, 'proc/self/cgroup'));
    const memory = findFolder(
      join(root, 'sys/fs/cgroup/memory'),
      groups.get('memory'),
      'memory.limit_in_bytes',
    );
    const unified = findFolder(join(root, 'sys/fs/cgroup'), groups.get(''), 'memory.max');
    this.memoryFolder = memory ?? unified;
    if (memory !== undefined) {
      const base = join(root, 'sys/fs/cgroup/cpu');
      const cpu = findFolder(base, groups.get('cpu'), 'cpu.cfs_quota_us') ?? base;
      this.version = 1;
      this.#limit = new PseudoFile(join(memory, 'memory.limit_in_bytes'));
      this.#usage = new PseudoFile(join(memory, 'memory.usage_in_bytes'));
      this.#stat = new PseudoFile(join(memory, 'memory.stat'));
      this.#quota = new PseudoFile(join(cpu, 'cpu.cfs_quota_us'));
      this.#period = new PseudoFile(join(cpu, 'cpu.cfs_period_us'));
    } else {
      const folder = unified ?? join(root, 'sys/fs/cgroup');
      this.version = unified === undefined ? 0 : 2;
      this.#limit = new PseudoFile(join(folder, 'memory.max'));
      this.#usage = new PseudoFile(join(folder, 'memory.current'));
      this.#stat = new PseudoFile(join(folder, 'memory.stat'));
      this.#quota = new PseudoFile(join(folder, 'cpu.max'));
      this.#period = undefined;
    }
  }

  read(): CgroupReading {
    const limit = this.#limit.readNumber();
    const memoryLimitBytes = limit < NO_LIMIT_BYTES ? limit : Number.NaN;
    // Usage matters only against a limit; the stat file is the costliest of all to read.
    const memoryUsedBytes = Number.isNaN(memoryLimitBytes) ? Number.NaN : this.#readUsed();
    return { memoryLimitBytes, memoryUsedBytes, cpuLimitCores: this.#readQuota() };
  }

  close(): void {
    for (const file of [this.#limit, this.#usage, this.#stat, this.#quota, this.#period]) file?.close();
  }

  #readUsed(): Bytes {
    const key = this.version === 1 ? /^total_inactive_file (\d+)$/m : /^inactive_file (\d+)$/m;
    const droppable = Number(key.exec(this.#stat.read())?.[1] ?? 0);
    return Math.max(0, this.#usage.readNumber() - droppable);
  }

  #readQuota(): number {
    if (this.#period !== undefined) {
      const quota = this.#quota.readNumber();
      return quota > 0 ? quota / this.#period.readNumber() : Number.NaN;
    }
    const [quota, period] = this.#quota.read(64).trim().split(' ');
    return Number(quota) / Number(period);
  }
}

/** Path of the group by controller; the unified hierarchy has the empty name. */
function readGroups(path: string): ReadonlyMap<string, string> {
  const groups = new Map<string, string>();
  let text = '';
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return groups;
  }
  for (const row of text.split('\n')) {
    const [, controllers, group] = /^\d+:([^:]*):(.*)$/.exec(row) ?? [];
    if (controllers === undefined || group === undefined) continue;
    for (const name of controllers.split(',')) groups.set(name, group);
  }
  return groups;
}

/**
 * The folder of the group, or the nearest parent that has the file: inside a container the group's path is
 * the host's, and only the root of the mount is there.
 */
function findFolder(mount: string, group: string | undefined, file: string): string | undefined {
  for (let at = group ?? '/'; ; at = dirname(at)) {
    // A group outside the namespace is written with '..'; it is not followed.
    const folder = at.includes('..') ? mount : join(mount, at);
    if (existsSync(join(folder, file))) return folder;
    if (at === '/' || at === '.') return undefined;
  }
}
