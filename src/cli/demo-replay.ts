import { createHistogram } from 'node:perf_hooks';
import type { Detection } from '../alerts/index.ts';
import type { Guardian } from '../guardian/index.ts';
import type { LabLabels } from '../lab/index.ts';
import { FlowBatch, type FlowRecord } from '../traffic/index.ts';

/** How one kind of attack fared in the replay, counted in flows. */
export interface AttackResult {
  readonly attack: string;
  readonly flows: number;
  /** Share of its flows that were flagged. */
  readonly recall: number;
  /** Of the flows that were given this name, the share that was right. */
  readonly precision: number;
  readonly findings: number;
}

export interface ReplayResult {
  readonly flows: number;
  readonly attacks: readonly AttackResult[];
  readonly benignFlows: number;
  readonly falseAlarms: number;
  readonly fpr: number;
  readonly decisions: Readonly<Record<string, number>>;
  /** How often each rail held an action back. */
  readonly vetoes: Readonly<Record<string, number>>;
  readonly findings: readonly Detection[];
  /** From the end of a flow to its decision, with the finding stored. */
  readonly latencyMs: { readonly p50: number; readonly p99: number };
}

interface Tally {
  flows: number;
  flagged: number;
  named: number;
  namedRightly: number;
}

/** Sends flows through the live route one at a time, as they would come, and holds the outcome against the labels. */
export async function replay(
  guardian: Guardian,
  flows: readonly FlowRecord[],
  labels: LabLabels,
  options: { readonly signal: AbortSignal; readonly onProgress: (share: number) => void },
): Promise<ReplayResult> {
  const latency = createHistogram();
  const tallies = new Map<string, Tally>();
  const findings = new Map<string, Detection>();
  const tallyOf = (kind: string) => {
    const tally = tallies.get(kind) ?? { flows: 0, flagged: 0, named: 0, namedRightly: 0 };
    tallies.set(kind, tally);
    return tally;
  };
  for (const [i, flow] of flows.entries()) {
    const batch = FlowBatch.from([flow], flow.sourceKind);
    const started = performance.now();
    const { outcomes, detections } = await guardian.ingestFlows(batch, { route: 'demo', outcomes: true });
    latency.record(Math.max(1, Math.round((performance.now() - started) * 1e6)));
    const score = outcomes?.[0]?.score;
    const label = labels.labelOf(flow);
    const tally = tallyOf(label);
    tally.flows++;
    if (score?.verdict === 'attack') {
      tally.flagged++;
      const named = tallyOf(score.kind ?? 'unnamed');
      named.named++;
      if (score.kind === label) named.namedRightly++;
    }
    for (const detection of detections) findings.set(detection.uid, detection);
    if (i % 512 === 0) {
      options.onProgress(i / flows.length);
      options.signal.throwIfAborted();
    }
  }
  for (const detection of await guardian.endRoute('demo')) findings.set(detection.uid, detection);
  const benign = tallyOf('benign');
  const { verdicts, vetoes } = guardian.guardrails.counters;
  return {
    flows: flows.length,
    attacks: [...tallies]
      .filter(([kind, { flows }]) => kind !== 'benign' && flows > 0)
      .map(([attack, tally]) => ({
        attack,
        flows: tally.flows,
        recall: tally.flagged / tally.flows,
        precision: tally.named === 0 ? 0 : tally.namedRightly / tally.named,
        findings: [...findings.values()].filter(({ kind }) => kind === attack).length,
      }))
      .sort((a, b) => a.attack.localeCompare(b.attack)),
    benignFlows: benign.flows,
    falseAlarms: benign.flagged,
    fpr: benign.flows === 0 ? 0 : benign.flagged / benign.flows,
    decisions: verdicts,
    vetoes: vetoes as Readonly<Record<string, number>>,
    findings: [...findings.values()],
    latencyMs: { p50: latency.percentile(50) / 1e6, p99: latency.percentile(99) / 1e6 },
  };
}
