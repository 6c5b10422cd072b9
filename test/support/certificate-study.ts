import { SeededRandom } from '../../src/base/index.ts';
import type { LoadedSchema } from '../../src/features/index.ts';
import { generate, LAB_LINK_TYPE } from '../../src/lab/index.ts';
import {
  type CertificateOrigin,
  type CertifiedSide,
  certify,
  clopperPearsonUpper,
  type DetectionModel,
  sideConfidence,
} from '../../src/models/index.ts';
import { FlowBatch, FlowMeter } from '../../src/traffic/index.ts';
import { type LabelledTable, labelFlows } from '../../src/training/index.ts';

/** Scored rows with their labels: all that a certificate is made of. */
export interface ScoredRows {
  readonly probability: Float32Array;
  readonly labels: Uint8Array;
  readonly episodes?: Uint32Array;
  /** Number of the run, or of the table, that a row comes from. */
  readonly runs?: Uint32Array;
  readonly decisionThreshold: number;
}

export interface Repetitions {
  readonly side: CertifiedSide;
  readonly target: number;
  readonly repetitions: number;
  readonly drawn: 'rows' | 'runs';
  /** How many of them got a certificate. */
  readonly certified: number;
  /** Certificates whose fresh rows show, at 95 %, that the target does not hold. */
  readonly violations: number;
  /** Certificates whose fresh rows had more errors than the target allows, proven or not. */
  readonly above: number;
}

/**
 * Draws the rows anew into two halves, certifies on the one and looks at the other, many times over. The model and the
 * rows to plan on stay the same. `drawn: 'runs'` leaves the rows of a run together, as fresh traffic comes: they are not
 * independent, and the bound by flow does not know it.
 */
export function repeatCertification(
  rows: ScoredRows,
  options: {
    readonly side: CertifiedSide;
    readonly target: number;
    readonly origin: CertificateOrigin;
    readonly repetitions: number;
    readonly seed: number;
    readonly planning?: ScoredRows;
    readonly drawn?: Repetitions['drawn'];
  },
): Repetitions {
  const { side, target, origin, repetitions, seed, planning, drawn = 'rows' } = options;
  const { decisionThreshold } = rows;
  const random = new SeededRandom(seed);
  const found = { side, target, repetitions, drawn, certified: 0, violations: 0, above: 0 };
  const halves = [halfOf(rows), halfOf(rows)] as const;
  for (let i = 0; i < repetitions; i++) {
    const sizes = [0, 0];
    const halfOfRun = new Map<number, 0 | 1>();
    const draw = () => (random.chance(0.5) ? 0 : 1);
    for (let row = 0; row < rows.labels.length; row++) {
      const run = rows.runs?.[row] as number;
      const which = drawn === 'rows' ? draw() : (halfOfRun.get(run) ?? draw());
      if (drawn === 'runs') halfOfRun.set(run, which);
      const at = sizes[which]!++;
      halves[which].probability[at] = rows.probability[row] as number;
      halves[which].labels[at] = rows.labels[row] as number;
    }
    const [calibration, fresh] = halves.map(({ probability, labels }, which) => ({
      probability: probability.subarray(0, sizes[which]),
      labels: labels.subarray(0, sizes[which]),
      decisionThreshold,
    })) as [ScoredRows, ScoredRows];
    const claim = certify(
      { ...calibration, origin, ...(planning && { planning }) },
      { side, target, seed: i },
    );
    if (claim.status === 'refused') continue;
    found.certified++;
    const { accepted, errors } = countAt(fresh, side, claim.threshold);
    if (clopperPearsonLower(errors, accepted) > target) found.violations++;
    if (errors > target * accepted) found.above++;
  }
  return found;
}

/** Lower bound of an error rate, one-sided: by the symmetry of the binomial, errors and what went right swapped. */
export function clopperPearsonLower(errors: number, n: number, confidence = 0.95): number {
  return n === 0 ? 0 : 1 - clopperPearsonUpper(n - errors, n, confidence);
}

/** Flows of one run of the lab with their labels, made and metered without a file between; nothing of the run is kept. */
export async function labRows(seed: number, seconds: number, schema: LoadedSchema): Promise<LabelledTable> {
  const run = generate({ seed, seconds });
  const meter = new FlowMeter({});
  const flows = [];
  for (const { bytes, timeMs, wireLength } of run.packets()) {
    meter.add(bytes, LAB_LINK_TYPE, timeMs, wireLength);
    if (meter.counters.packets % 8_192 === 0) for (const flow of meter.drain()) flows.push(flow);
  }
  for (const flow of meter.finish()) flows.push(flow);
  const labels = run.labels();
  return await labelFlows({
    batches: (function* () {
      for (let i = 0; i < flows.length; i += 4_096)
        yield FlowBatch.from(flows.slice(i, i + 4_096), 'packets');
    })(),
    schema,
    labelOf: (flow) => labels.labelOf(flow),
    weightOf: (flow) => labels.weightOf(flow),
  });
}

/** Scores of many tables, in bounded memory: only what a certificate needs of each row is kept. */
export class ScorePool {
  readonly #model: DetectionModel;
  readonly #parts: { p: Float32Array; labels: Uint8Array; episodes: Uint32Array | undefined }[] = [];
  #episodes = 0;

  constructor(model: DetectionModel) {
    this.#model = model;
  }

  add(table: LabelledTable): void {
    const p = new Float32Array(table.rows);
    this.#model.score(table.values, table.rows, { probability: p, kind: new Int16Array(table.rows) });
    const first = this.#episodes;
    const episodes = table.episodes?.map((episode) => episode + first);
    this.#episodes = episodes?.reduce((most, episode) => Math.max(most, episode + 1), first) ?? first;
    this.#parts.push({ p, labels: table.labels, episodes });
  }

  /** Decisions of a side so far, whatever their confidence. */
  decisions(side: CertifiedSide): number {
    const { threshold } = this.#model;
    return this.#parts.reduce(
      (sum, { p }) => sum + p.reduce((n, each) => n + (each >= threshold === (side === 'block') ? 1 : 0), 0),
      0,
    );
  }

  rows(): ScoredRows {
    const n = this.#parts.reduce((sum, { p }) => sum + p.length, 0);
    const probability = new Float32Array(n);
    const labels = new Uint8Array(n);
    const episodes = new Uint32Array(n);
    const runs = new Uint32Array(n);
    let at = 0;
    for (const [run, part] of this.#parts.entries()) {
      probability.set(part.p, at);
      runs.fill(run, at, at + part.p.length);
      labels.set(part.labels, at);
      if (part.episodes !== undefined) episodes.set(part.episodes, at);
      at += part.p.length;
    }
    const hasEpisodes = this.#parts.every((part) => part.episodes !== undefined);
    const { threshold: decisionThreshold } = this.#model;
    return { probability, labels, runs, decisionThreshold, ...(hasEpisodes && { episodes }) };
  }
}

/** Decisions at a claim's threshold, and the wrong ones among them. */
export function countAt(
  rows: ScoredRows,
  side: CertifiedSide,
  threshold: number,
): { readonly accepted: number; readonly errors: number } {
  const { decisionThreshold } = rows;
  let [accepted, errors] = [0, 0];
  for (let i = 0; i < rows.labels.length; i++) {
    const p = rows.probability[i] as number;
    if (p >= decisionThreshold !== (side === 'block') || sideConfidence(side, p) < threshold) continue;
    accepted++;
    if ((rows.labels[i] === 1) !== (side === 'block')) errors++;
  }
  return { accepted, errors };
}

function halfOf({ labels }: ScoredRows) {
  return { probability: new Float32Array(labels.length), labels: new Uint8Array(labels.length) };
}
