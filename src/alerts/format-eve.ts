import type { Detection } from './detection.ts';
import { escapeDeep } from './escape.ts';
import { PRODUCT, protocolName } from './product.ts';
import type { Severity } from './severity.ts';

/** Suricata's priorities: 1 is the highest. */
const PRIORITY: Readonly<Record<Severity, number>> = {
  critical: 1,
  high: 1,
  medium: 2,
  low: 3,
  informational: 4,
};

/**
 * An alert in the shape of Suricata's EVE JSON, so that what reads EVE reads it; what has no place there is under
 * `ai_guardian`. `gid` and `signature_id` are 0: there is no signature.
 */
export function eveOf(detection: Detection): Readonly<Record<string, unknown>> {
  const { technique, evidence, source, destination } = detection;
  const sample = evidence.flows[0];
  const hasPorts = sample !== undefined && (sample.protocol === 6 || sample.protocol === 17);
  return escapeDeep({
    timestamp: eveTime(detection.lastSeenMs),
    event_type: 'alert',
    src_ip: source.address,
    ...(hasPorts && { src_port: sample.sourcePort }),
    dest_ip: destination.address,
    ...(hasPorts && { dest_port: sample.destinationPort }),
    ...(sample !== undefined && { proto: protocolName(sample.protocol) }),
    alert: {
      action: detection.decision.verdict === 'block' ? 'blocked' : 'allowed',
      gid: 0,
      signature_id: 0,
      rev: detection.revision,
      signature: `${PRODUCT.name} ${detection.title}`,
      category: detection.kind,
      severity: PRIORITY[detection.severity],
      ...(technique !== undefined && {
        metadata: {
          mitre_technique_id: [technique.id],
          mitre_technique_name: [technique.name],
          mitre_tactic_id: [technique.tacticId],
          mitre_tactic_name: [technique.tacticName],
        },
      }),
    },
    flow: { start: eveTime(detection.firstSeenMs) },
    ai_guardian: {
      uid: detection.uid,
      activity: detection.activity,
      flows: detection.flows,
      packets: detection.packets,
      bytes: detection.bytes,
      probability: detection.score.probability,
      confidence: detection.score.confidence,
      decision: detection.decision,
      certificate: detection.certificate,
      model: detection.model,
      top_features: evidence.topFeatures,
      ...(detection.suppressedBy !== undefined && { suppressed_by: detection.suppressedBy }),
    },
  }) as Readonly<Record<string, unknown>>;
}

/** One line of JSON. */
export function formatEve(detection: Detection): string {
  return JSON.stringify(eveOf(detection));
}

/** Microseconds and a zone without a colon, as Suricata writes. */
function eveTime(ms: number): string {
  return new Date(ms).toISOString().replace('Z', '000+0000');
}
