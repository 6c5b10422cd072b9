import { open, rm } from 'node:fs/promises';
import type { Milliseconds } from '../base/index.ts';
import { PcapWriter } from '../traffic/index.ts';
import { ATTACK_KINDS, type AttackKind } from './attacks/stage.ts';
import type { Conversation } from './conversation.ts';
import { LabError } from './errors.ts';
import { FrameWriter } from './frame.ts';
import { Lab } from './lab.ts';
import { LABELS_HEADER, LabLabels, labelLine } from './labels.ts';
import { stageAttacks, stageOrdinary } from './scenario.ts';

/** What the lab is to make. The same recipe gives the same bytes. */
export interface Recipe {
  /** 0 to 4294967295. */
  readonly seed: number;
  /** Length of the traffic, 1 to 86400. */
  readonly seconds: number;
  /** Kinds of attack; all when absent. */
  readonly attacks?: readonly AttackKind[];
  /** Ordinary traffic too; true when absent. */
  readonly benign?: boolean;
  /** Multiplies networks and episodes; 1 when absent, 0.01 to 100. */
  readonly scale?: number;
  /** When the capture begins; 2026-01-05 09:00 UTC when absent. */
  readonly originMs?: Milliseconds;
  /** Bytes kept of each packet, 96 when absent; payload beyond its first bytes is zero anyway. */
  readonly snapLength?: number;
}

/** One packet of the lab. The object and its bytes are reused: copy what is to outlive the next step. */
export interface LabPacket {
  /** Ethernet frame, cut at the recipe's snap length. */
  bytes: Uint8Array;
  timeMs: Milliseconds;
  wireLength: number;
}

export const LAB_LINK_TYPE = 1;
export const LAB_SNAP_LENGTH = 96;

const ORIGIN = Date.UTC(2026, 0, 5, 9);

/** A run of the lab: packets once, in order of time; labels when they are all out. */
export class LabRun {
  readonly originMs: Milliseconds;
  readonly #lab: Lab;
  readonly #conversations: Conversation[] = [];
  readonly #snapLength: number;

  /** Throws `lab.recipe-invalid` and `base.seed-invalid`. */
  constructor(recipe: Recipe) {
    const { seed, seconds, attacks = ATTACK_KINDS, benign = true, scale = 1, originMs = ORIGIN } = recipe;
    if (!(seconds >= 1 && seconds <= 86_400))
      throw new LabError('lab.recipe-invalid', `expected 1 to 86400 seconds, got ${seconds}`);
    if (!(scale >= 0.01 && scale <= 100))
      throw new LabError('lab.recipe-invalid', `expected a scale from 0.01 to 100, got ${scale}`);
    const unknown = attacks.find((kind) => !ATTACK_KINDS.includes(kind));
    if (unknown !== undefined)
      throw new LabError('lab.recipe-invalid', `expected one of ${ATTACK_KINDS.join(', ')}, got ${unknown}`);
    this.originMs = originMs;
    this.#snapLength = recipe.snapLength ?? LAB_SNAP_LENGTH;
    this.#lab = new Lab(seed, seconds);
    const sites = benign ? stageOrdinary(this.#lab, scale) : [];
    stageAttacks(this.#lab, sites, attacks, scale);
  }

  *packets(): Generator<LabPacket> {
    const frames = new FrameWriter(this.#snapLength);
    const packet: LabPacket = { bytes: new Uint8Array(0), timeMs: 0, wireLength: 0 };
    for (const planned of this.#lab.timeline.packets()) {
      const { conversation } = planned;
      if (!conversation.seen) {
        conversation.seen = true;
        this.#conversations.push(conversation);
      }
      packet.bytes = frames.write(planned);
      packet.timeMs = this.originMs + planned.timeUs / 1000;
      packet.wireLength = frames.wireLength;
      yield packet;
    }
  }

  /** Every conversation whose packets came out, in order of their first. */
  conversations(): readonly Conversation[] {
    return this.#conversations;
  }

  /** Labels of everything that has come out so far. */
  labels(): LabLabels {
    const labels = new LabLabels();
    for (const conversation of this.#conversations) labels.addConversation(conversation, this.originMs);
    return labels;
  }
}

/** Starts a run. */
export function generate(recipe: Recipe): LabRun {
  return new LabRun(recipe);
}

/** The packets alone, for whoever needs no labels. */
export function labPackets(recipe: Recipe): Generator<LabPacket> {
  return generate(recipe).packets();
}

export interface WriteLabOptions extends Recipe {
  /** The capture, classic pcap. */
  readonly out: string;
  /** The labels, CSV. */
  readonly labels: string;
  /** Stops the writing: its reason is thrown, and no file is left. */
  readonly signal?: AbortSignal;
  /** Called now and then with the share of time that is written, 0 to 1. */
  readonly onProgress?: (share: number) => void;
}

export interface LabSummary {
  readonly packets: number;
  readonly bytes: number;
  readonly conversations: number;
  /** Conversations by label, `benign` among them. */
  readonly byLabel: Readonly<Record<string, number>>;
}

const PROGRESS_EVERY = 16_384;

/** Writes a capture and its labels, or neither. Yields to the event loop now and then. */
export async function writeLab({
  out,
  labels,
  signal,
  onProgress,
  ...recipe
}: WriteLabOptions): Promise<LabSummary> {
  const run = generate(recipe);
  const writer = new PcapWriter(out, {
    snapLength: recipe.snapLength ?? LAB_SNAP_LENGTH,
    linkType: LAB_LINK_TYPE,
  });
  const made = [out];
  const counts: Record<string, number> = {};
  try {
    try {
      for (const { bytes, timeMs, wireLength } of run.packets()) {
        writer.write(bytes, timeMs, wireLength);
        if (writer.packets % PROGRESS_EVERY === 0) {
          onProgress?.((timeMs - run.originMs) / (recipe.seconds * 1000));
          await new Promise((resolve) => setImmediate(resolve));
          signal?.throwIfAborted();
        }
      }
    } finally {
      writer.close();
    }
    const lines = [LABELS_HEADER];
    for (const conversation of run.conversations()) {
      counts[conversation.label] = (counts[conversation.label] ?? 0) + 1;
      lines.push(labelLine(conversation, run.originMs));
    }
    const file = await open(labels, 'w');
    made.push(labels);
    await file.writeFile(`${lines.join('\n')}\n`).finally(() => file.close());
  } catch (error) {
    // Half a capture looks like a whole one.
    for (const path of made) await rm(path, { force: true });
    throw error;
  }
  onProgress?.(1);
  return {
    packets: writer.packets,
    bytes: writer.bytes,
    conversations: run.conversations().length,
    byLabel: counts,
  };
}
