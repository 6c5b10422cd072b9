import { statfsSync } from 'node:fs';
import { join } from 'node:path';
import type { Bytes, Clock, Milliseconds } from '../base/index.ts';
import { Cgroup } from './cgroup.ts';
import { type GpuReading, Gpus } from './gpu.ts';
import { PseudoFile } from './pseudo-file.ts';

/** One look at process and machine. NaN where the system does not say. */
export interface Reading extends GpuReading {
  readonly time: Milliseconds;
  /** Cores in use by this process since the reading before: 1 is one whole core. */
  readonly processCpuCores: number;
  /** Share of all cores of the machine in use, in [0, 1]. */
  readonly machineCpuShare: number;
  /** Cores this process may use: the machine's, or fewer by a control group's quota. */
  readonly cpuCores: number;
  readonly rssBytes: Bytes;
  /** What can still be taken, by the machine or the control group, whichever is less. */
  readonly memoryAvailableBytes: Bytes;
  /** The longest time the event loop was late since the reading before. */
  readonly eventLoopDelayMs: Milliseconds;
  /** Free for this user on the file system of the state folder. */
  readonly diskFreeBytes: Bytes;
}

export interface ReaderOptions {
  readonly clock: Clock;
  /** Folder that stands for `/`. */
  readonly root?: string;
  /** Folder whose file system is measured. */
  readonly diskPath?: string;
  /** Longest event-loop delay since the call before. */
  readonly takeLoopDelay?: () => Milliseconds;
}

/** Linux has given user space 100 ticks a second on every platform Node runs on, whatever the kernel uses. */
const TICKS_PER_SECOND = 100;

/** Takes readings from /proc and the control group. Keeps its files open: reading again costs microseconds. */
export class ReadingSource {
  readonly #clock: Clock;
  readonly #diskPath: string | undefined;
  readonly #takeLoopDelay: () => Milliseconds;
  readonly #selfStat: PseudoFile;
  readonly #selfStatus: PseudoFile;
  readonly #stat: PseudoFile;
  readonly #memory: PseudoFile;
  readonly #cgroup: Cgroup;
  readonly #gpus: Gpus;
  readonly #machineCores: number;
  #lastTime: Milliseconds;
  #lastProcessTicks: number;
  #lastMachine: MachineTicks;

  constructor(options: ReaderOptions) {
    const proc = join(options.root ?? '/', 'proc');
    this.#clock = options.clock;
    this.#diskPath = options.diskPath;
    this.#takeLoopDelay = options.takeLoopDelay ?? (() => Number.NaN);
    this.#selfStat = new PseudoFile(join(proc, 'self/stat'));
    this.#selfStatus = new PseudoFile(join(proc, 'self/status'));
    this.#stat = new PseudoFile(join(proc, 'stat'));
    this.#memory = new PseudoFile(join(proc, 'meminfo'));
    this.#cgroup = new Cgroup(options.root ?? '/');
    this.#gpus = new Gpus(options.root ?? '/');
    this.#machineCores = this.#stat.read().match(/^cpu\d+ /gm)?.length ?? Number.NaN;
    this.#lastTime = this.#clock.monotonic();
    this.#lastProcessTicks = this.#readProcessTicks();
    this.#lastMachine = this.#readMachineTicks();
  }

  read(): Reading {
    const now = this.#clock.monotonic();
    const seconds = (now - this.#lastTime) / 1000;
    const processTicks = this.#readProcessTicks();
    const machine = this.#readMachineTicks();
    const group = this.#cgroup.read();
    const total = machine.total - this.#lastMachine.total;
    const reading: Reading = {
      time: this.#clock.now(),
      processCpuCores:
        seconds > 0 ? (processTicks - this.#lastProcessTicks) / TICKS_PER_SECOND / seconds : Number.NaN,
      machineCpuShare: total > 0 ? (machine.busy - this.#lastMachine.busy) / total : Number.NaN,
      cpuCores: least(this.#machineCores, group.cpuLimitCores),
      rssBytes: kibibytes(/^VmRSS:\s+(\d+) kB$/m, this.#selfStatus.read()),
      memoryAvailableBytes: least(
        kibibytes(/^MemAvailable:\s+(\d+) kB$/m, this.#memory.read(512)),
        Math.max(0, group.memoryLimitBytes - group.memoryUsedBytes),
      ),
      eventLoopDelayMs: this.#takeLoopDelay(),
      diskFreeBytes: this.#readDiskFree(),
      ...this.#gpus.read(),
    };
    this.#lastTime = now;
    this.#lastProcessTicks = processTicks;
    this.#lastMachine = machine;
    return reading;
  }

  close(): void {
    for (const file of [this.#selfStat, this.#selfStatus, this.#stat, this.#memory]) file.close();
    this.#cgroup.close();
    this.#gpus.close();
  }

  /** utime + stime, fields 14 and 15 of proc(5) stat; the command in field 2 may hold spaces and brackets. */
  #readProcessTicks(): number {
    const text = this.#selfStat.read(1024);
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return Number(fields[11] ?? Number.NaN) + Number(fields[12] ?? Number.NaN);
  }

  #readMachineTicks(): MachineTicks {
    const text = this.#stat.read(256);
    const fields = text.slice(0, text.indexOf('\n')).split(/\s+/).slice(1, 9).map(Number);
    if (fields.length < 4) return { busy: Number.NaN, total: Number.NaN };
    const total = fields.reduce((sum, ticks) => sum + ticks, 0);
    // Idle and waiting for I/O.
    return { busy: total - (fields[3] ?? 0) - (fields[4] ?? 0), total };
  }

  #readDiskFree(): Bytes {
    if (this.#diskPath === undefined) return Number.NaN;
    try {
      const { bavail, bsize } = statfsSync(this.#diskPath);
      return bavail * bsize;
    } catch {
      return Number.NaN;
    }
  }
}

interface MachineTicks {
  readonly busy: number;
  readonly total: number;
}

function kibibytes(pattern: RegExp, text: string): Bytes {
  const digits = pattern.exec(text)?.[1];
  return digits === undefined ? Number.NaN : Number(digits) * 1024;
}

/** The lesser of two, where NaN means unknown. */
function least(a: number, b: number): number {
  if (Number.isNaN(a)) return b;
  return Number.isNaN(b) ? a : Math.min(a, b);
}
