import type { JudgedRecord } from '../../src/alerts/index.ts';
import type { Score } from '../../src/models/index.ts';
import { createPolicy, Guardrails, isSourceProven } from '../../src/response/index.ts';
import type { FlowRecord } from '../../src/traffic/index.ts';

/** Start of the made-up traffic, milliseconds since 1970 UTC. */
export const TRAFFIC_START = Date.UTC(2026, 0, 1);

/** A refused TCP connection of half a second's length that begins at TRAFFIC_START. */
export function makeFlow(change: Partial<FlowRecord> = {}): FlowRecord {
  const startMs = change.startMs ?? TRAFFIC_START;
  return {
    sourceKind: 'packets',
    protocol: 6,
    sourceAddress: '10.0.0.5',
    destinationAddress: '10.0.0.9',
    sourcePort: 40_000,
    destinationPort: 22,
    startMs,
    endMs: startMs + 500,
    forward: { packets: 2, bytes: 100, payloadBytes: 0, tcpFlags: 0x02 },
    backward: { packets: 1, bytes: 40, payloadBytes: 0, tcpFlags: 0x14 },
    state: 'REJ',
    endReason: 'tcp-end',
    ...change,
  };
}

/** A certain attack of kind port-scan; `kind: undefined` makes it one without a name. */
export function makeScore(change: Omit<Partial<Score>, 'kind'> & { kind?: string | undefined } = {}): Score {
  const { kind = 'port-scan', ...rest } = change;
  return {
    probability: 0.98,
    verdict: 'attack',
    confidence: 0.97,
    model: { name: 'flow', version: '1.0.0', digest: `sha256:${'ab'.repeat(32)}` },
    certificate: 'absent',
    topFeatures: [{ column: 'packets', value: 2, contribution: 1.5 }],
    ...('kind' in change && change.kind === undefined ? {} : { kind }),
    ...rest,
  };
}

/** A flow with its score and the decision the default policy takes on it. */
export function makeJudged(
  flow: Partial<FlowRecord> = {},
  score: Parameters<typeof makeScore>[0] = {},
): JudgedRecord {
  const record = makeFlow(flow);
  const scored = makeScore(score);
  const decision = new Guardrails(createPolicy()).judge({
    score: scored,
    source: record.sourceAddress,
    sourceProven: isSourceProven(record),
    nowMs: record.endMs,
  });
  return { flow: record, score: scored, decision };
}
