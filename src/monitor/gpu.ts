import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Bytes } from '../base/index.ts';
import { PseudoFile } from './pseudo-file.ts';

export interface GpuReading {
  /** Share of the time in which the busiest GPU was at work, in [0, 1]. */
  readonly gpuBusyShare: number;
  /** Memory that can still be taken on the fullest GPU. */
  readonly gpuMemoryFreeBytes: Bytes;
}

interface Card {
  readonly busy: PseudoFile;
  readonly used: PseudoFile;
  readonly total: PseudoFile;
}

/** What the kernel says of GPUs under /sys/class/drm: amdgpu does, other drivers keep it to tools of their own. NaN where none says anything. */
export class Gpus {
  readonly #cards: readonly Card[];

  constructor(root: string) {
    const folder = join(root, 'sys/class/drm');
    const file = (card: string, name: string) => new PseudoFile(join(folder, card, 'device', name));
    this.#cards = cardsIn(folder).map((card) => ({
      busy: file(card, 'gpu_busy_percent'),
      used: file(card, 'mem_info_vram_used'),
      total: file(card, 'mem_info_vram_total'),
    }));
  }

  read(): GpuReading {
    let gpuBusyShare = Number.NaN;
    let gpuMemoryFreeBytes = Number.NaN;
    for (const { busy, used, total } of this.#cards) {
      const share = busy.readNumber() / 100;
      const free = total.readNumber() - used.readNumber();
      if (!(share <= gpuBusyShare)) gpuBusyShare = Number.isNaN(share) ? gpuBusyShare : share;
      if (!(free >= gpuMemoryFreeBytes)) gpuMemoryFreeBytes = Number.isNaN(free) ? gpuMemoryFreeBytes : free;
    }
    return { gpuBusyShare, gpuMemoryFreeBytes };
  }

  close(): void {
    for (const card of this.#cards) for (const each of [card.busy, card.used, card.total]) each.close();
  }
}

/** Cards, and not their outputs (`card0-DP-1`). */
function cardsIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder).filter((name) => /^card\d+$/.test(name));
  } catch {
    return [];
  }
}
