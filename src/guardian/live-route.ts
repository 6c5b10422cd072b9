import type { Detection, DetectionStore } from '../alerts/index.ts';
import { BatchSize, type Clock, type Metrics, type Milliseconds } from '../base/index.ts';
import { FlowExtractor, type LoadedSchema } from '../features/index.ts';
import type { Engine } from '../inference/index.ts';
import type { Score } from '../models/index.ts';
import { type Decision, type Guardrails, isSourceProven } from '../response/index.ts';
import type { FlowBatch, FlowRecord } from '../traffic/index.ts';
import type { FeatureKnowledge } from './feature-knowledge.ts';
import { rejectsOf } from './rejects.ts';
import type { ScoreDrift } from './score-drift.ts';
import { scoreInParts } from './score-in-parts.ts';

/** One flow at the end of the route of data. */
export interface FlowOutcome {
  readonly flow: FlowRecord;
  readonly score: Score;
  readonly decision: Decision;
}

export interface IngestOptions {
  /** Names the stream the flows belong to: each has its own windows. */
  readonly route?: string;
  /** Registry name of the model; the configured one by default. */
  readonly model?: string;
  /** Whether to hand back every flow with its score and decision. */
  readonly outcomes?: boolean;
}

export interface IngestResult {
  readonly flows: number;
  /** Flows the schema refused, by code and column. */
  readonly rejects: Readonly<Record<string, number>>;
  readonly verdicts: Readonly<Record<Score['verdict'], number>>;
  readonly decisions: Readonly<Record<Decision['verdict'], number>>;
  /** Findings raised or changed by these flows. */
  readonly detections: readonly Detection[];
  readonly outcomes?: readonly FlowOutcome[];
}

/** Streams with windows of their own; the one unused longest is forgotten for a new one. */
const MAX_STREAMS = 64;
const DEFAULT_STREAM = 'events';
/** Rows of a batch that memory allows, whatever the latency. */
const MAX_SCORED_AT_ONCE = 65_536;

export interface LiveRouteParts {
  readonly engine: Engine;
  readonly guardrails: Guardrails;
  readonly detections: DetectionStore;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly knowledge: Pick<FeatureKnowledge, 'add'>;
  readonly drift: Pick<ScoreDrift, 'observe'>;
  /** From the arrival of flows to their scores: how many are scored at once follows from it. */
  readonly latencyTargetMs: Milliseconds;
  /** Registry name of the model where a caller names none. */
  readonly modelName: string;
  /** Throws `inference.no-model`. */
  readonly schemaOf: (model: string) => LoadedSchema;
}

/** The route of data, from flows to findings; each stream of flows has windows of its own. */
export class LiveRoute {
  readonly #parts: LiveRouteParts;
  readonly #extractors = new Map<string, FlowExtractor>();
  readonly #flows;
  readonly #decisions;
  readonly #findings;
  readonly #scoring;
  readonly #features;
  readonly #sizes = new Map<string, BatchSize>();

  constructor(parts: LiveRouteParts) {
    this.#parts = parts;
    const { metrics } = parts;
    this.#flows = metrics.counter('flows_total', 'Flows that were scored, by verdict.', ['verdict']);
    this.#decisions = metrics.counter('decisions_total', 'Decisions, by verdict.', ['verdict']);
    this.#findings = metrics.counter('findings_total', 'States of findings, by activity.', ['activity']);
    this.#features = metrics.histogram('inference_features_seconds', 'Flows to features, a batch.');
    this.#scoring = metrics.histogram('scoring_seconds', 'Features to decision, a batch.');
  }

  /**
   * Extractor, engine, policy and guard rails, alerts. The batch is only read, and not after this resolves. A flow
   * becomes a record where something will hold it: a finding, or the caller who asked for outcomes.
   */
  async ingest(flows: FlowBatch, options: IngestOptions = {}): Promise<IngestResult> {
    const { engine, guardrails, detections: store, clock, knowledge } = this.#parts;
    const { model = this.#parts.modelName, route = DEFAULT_STREAM, outcomes: keep = false } = options;
    const started = clock.monotonic();
    const batch = this.#extractor(route, model).extract(flows);
    this.#features.observe({}, (clock.monotonic() - started) / 1000);
    const sizes = this.#sizeOf(model);
    const scores = await scoreInParts(batch, {
      sizes,
      clock,
      score: (part) => engine.score(part, { model, source: route }),
    });
    this.#parts.drift.observe(batch.sourceKind, scores);
    await knowledge.add(flows);
    const outcomes: FlowOutcome[] = [];
    const counts = newCounts();
    let lastEnd: Milliseconds = 0;
    for (let row = 0; row < flows.rows; row++) {
      const score = scores[row] as Score;
      const nowMs = flows.number(row, 'end_ms');
      const flow = keep || score.verdict === 'attack' ? flows.record(row) : undefined;
      // Whatever is no attack proposes nothing, so its source decides nothing.
      const decision = guardrails.judge({
        score,
        source: flow?.sourceAddress ?? '',
        sourceProven: flow !== undefined && isSourceProven(flow),
        nowMs,
      });
      counts.verdicts[score.verdict]++;
      counts.decisions[decision.verdict]++;
      lastEnd = Math.max(lastEnd, nowMs);
      if (flow !== undefined) outcomes.push({ flow, score, decision });
    }
    this.#scoring.observe({}, (clock.monotonic() - started) / 1000);
    const detections = [...(await store.record(outcomes, route)), ...(await store.advance(lastEnd, route))];
    this.#count(counts, detections);
    return { flows: flows.rows, rejects: rejectsOf(batch), ...counts, detections, ...(keep && { outcomes }) };
  }

  /** Closes the findings of a source that has ended, and forgets its windows. */
  end(route: string): Promise<readonly Detection[]> {
    this.#forget((key) => key.startsWith(`${route}\n`));
    return this.#parts.detections.finish(route);
  }

  /** Forgets the windows of every stream of a model, whose schema is another one now. */
  forgetModel(model: string): void {
    this.#forget((key) => key.endsWith(`\n${model}`));
  }

  /** Models differ in what a flow costs them. */
  #sizeOf(model: string): BatchSize {
    let sizes = this.#sizes.get(model);
    if (sizes === undefined) {
      sizes = new BatchSize({ targetMs: this.#parts.latencyTargetMs, maxItems: MAX_SCORED_AT_ONCE });
      this.#sizes.set(model, sizes);
    }
    return sizes;
  }

  #forget(matches: (key: string) => boolean): void {
    for (const key of this.#extractors.keys()) if (matches(key)) this.#extractors.delete(key);
  }

  /** One extractor a stream and model; taken out and put back, so that the first of the map is the stalest. */
  #extractor(route: string, model: string): FlowExtractor {
    const key = `${route}\n${model}`;
    const extractor = this.#extractors.get(key) ?? new FlowExtractor(this.#parts.schemaOf(model));
    this.#extractors.delete(key);
    this.#extractors.set(key, extractor);
    if (this.#extractors.size > MAX_STREAMS)
      this.#extractors.delete(this.#extractors.keys().next().value as string);
    return extractor;
  }

  #count({ verdicts, decisions }: Counts, detections: readonly Detection[]): void {
    for (const [verdict, n] of Object.entries(verdicts)) if (n > 0) this.#flows.add({ verdict }, n);
    for (const [verdict, n] of Object.entries(decisions)) if (n > 0) this.#decisions.add({ verdict }, n);
    for (const { activity } of detections) this.#findings.add({ activity });
  }
}

interface Counts {
  readonly verdicts: Record<Score['verdict'], number>;
  readonly decisions: Record<Decision['verdict'], number>;
}

function newCounts(): Counts {
  return {
    verdicts: { attack: 0, benign: 0, abstain: 0 },
    decisions: { allow: 0, observe: 0, 'would-block': 0, vetoed: 0, block: 0 },
  };
}
