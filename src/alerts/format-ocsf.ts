import { isIP } from 'node:net';
import type { Detection, FlowSample } from './detection.ts';
import { escapeDeep } from './escape.ts';
import type { Technique } from './kinds.ts';
import { PRODUCT, protocolName } from './product.ts';
import type { Severity } from './severity.ts';

/** The version of the schema the test checks against. */
const OCSF_VERSION = '1.9.0-dev';
const CLASS_UID = 2004;

const ACTIVITY = {
  create: [1, 'Create'],
  update: [2, 'Update'],
  close: [3, 'Close'],
} as const satisfies Record<Detection['activity'], readonly [number, string]>;

const SEVERITY = {
  informational: [1, 'Informational'],
  low: [2, 'Low'],
  medium: [3, 'Medium'],
  high: [4, 'High'],
  critical: [5, 'Critical'],
} as const satisfies Record<Severity, readonly [number, string]>;

/** An OCSF Detection Finding (class 2004) with the profile `security_control`. */
export function ocsfOf(detection: Detection): Readonly<Record<string, unknown>> {
  const { evidence, decision, model, technique } = detection;
  const [activityId, activityName] = ACTIVITY[detection.activity];
  const [severityId, severity] = SEVERITY[detection.severity];
  const [confidenceId, confidence] = confidenceLevel(detection.score.confidence);
  const [statusId, status] = statusOf(detection);
  const isBlocked = decision.verdict === 'block';
  return escapeDeep({
    activity_id: activityId,
    activity_name: activityName,
    category_uid: 2,
    category_name: 'Findings',
    class_uid: CLASS_UID,
    class_name: 'Detection Finding',
    type_uid: CLASS_UID * 100 + activityId,
    type_name: `Detection Finding: ${activityName}`,
    time: Math.trunc(detection.time),
    start_time: Math.trunc(detection.firstSeenMs),
    end_time: Math.trunc(detection.lastSeenMs),
    count: detection.flows,
    severity_id: severityId,
    severity,
    status_id: statusId,
    status,
    confidence_id: confidenceId,
    confidence,
    confidence_score: Math.round(detection.score.confidence * 100),
    action_id: isBlocked ? 2 : 3,
    action: isBlocked ? 'Denied' : 'Observed',
    disposition_id: isBlocked ? 2 : 15,
    disposition: isBlocked ? 'Blocked' : 'Detected',
    is_alert: detection.activity !== 'close' && detection.suppressedBy === undefined,
    message: `${detection.title}: ${detection.flows} flows from ${detection.source.address} to ${detection.destination.address}`,
    metadata: {
      version: OCSF_VERSION,
      product: { name: PRODUCT.name, vendor_name: PRODUCT.vendor, version: PRODUCT.version },
      profiles: ['security_control'],
      uid: `${detection.uid}.${detection.revision}`,
      modified_time: Math.trunc(detection.modifiedMs),
    },
    finding_info: {
      uid: detection.uid,
      title: detection.title,
      desc: `Decision: ${decision.verdict}, ${decision.reason}`,
      types: [detection.kind],
      created_time: Math.trunc(detection.time),
      modified_time: Math.trunc(detection.modifiedMs),
      first_seen_time: Math.trunc(detection.firstSeenMs),
      last_seen_time: Math.trunc(detection.lastSeenMs),
      related_events_count: detection.flows,
      analytic: {
        name: model.name,
        uid: model.digest,
        version: model.version,
        type_id: 4,
        type: 'Learning (ML/DL)',
      },
      ...(technique !== undefined && { attacks: [attackOf(technique)] }),
    },
    evidences: evidence.flows.map(evidenceOf),
    observables: observablesOf(evidence.flows),
    unmapped: {
      packets: detection.packets,
      bytes: detection.bytes,
      source_addresses: detection.source.addressCount,
      destination_addresses: detection.destination.addressCount,
      destination_ports: detection.destination.portCount,
      probability: detection.score.probability,
      certificate: detection.certificate,
      decision,
      top_features: evidence.topFeatures,
      ...(detection.suppressedBy !== undefined && { suppressed_by: detection.suppressedBy }),
    },
  }) as Readonly<Record<string, unknown>>;
}

/** One line of JSON. */
export function formatOcsf(detection: Detection): string {
  return JSON.stringify(ocsfOf(detection));
}

function attackOf(technique: Technique): Record<string, unknown> {
  const tactic = { uid: technique.tacticId, name: technique.tacticName };
  const [parent, sub] = technique.id.split('.');
  if (sub === undefined) return { technique: { uid: technique.id, name: technique.name }, tactic };
  return {
    technique: { uid: parent, name: technique.parentName },
    sub_technique: { uid: technique.id, name: technique.name },
    tactic,
  };
}

function evidenceOf(flow: FlowSample): Record<string, unknown> {
  const hasPorts = flow.protocol === 6 || flow.protocol === 17;
  return {
    src_endpoint: endpointOf(flow.sourceAddress, hasPorts ? flow.sourcePort : undefined),
    dst_endpoint: endpointOf(flow.destinationAddress, hasPorts ? flow.destinationPort : undefined),
    // The direction relative to the site is not known here.
    connection_info: {
      direction_id: 0,
      direction: 'Unknown',
      protocol_num: flow.protocol,
      protocol_name: protocolName(flow.protocol).toLowerCase(),
    },
    data: {
      start_time: flow.startMs,
      end_time: flow.endMs,
      state: flow.state,
      probability: flow.probability,
    },
  };
}

/** Each address once, by where it first stands. */
function observablesOf(flows: readonly FlowSample[]): readonly Record<string, unknown>[] {
  const named = new Map<string, string>();
  for (const [i, { sourceAddress, destinationAddress }] of flows.entries()) {
    for (const [side, address] of [
      ['src_endpoint', sourceAddress],
      ['dst_endpoint', destinationAddress],
    ] as const) {
      if (isIP(address) !== 0 && !named.has(address)) named.set(address, `evidences[${i}].${side}.ip`);
    }
  }
  return [...named].map(([value, name]) => ({ name, type_id: 2, type: 'IP Address', value }));
}

function endpointOf(address: string, port: number | undefined): Record<string, unknown> {
  return {
    ...(isIP(address) === 0 ? { name: address } : { ip: address }),
    ...(port !== undefined && { port }),
  };
}

function confidenceLevel(confidence: number): readonly [number, string] {
  if (confidence >= 0.9) return [3, 'High'];
  return confidence >= 0.7 ? [2, 'Medium'] : [1, 'Low'];
}

/** A finding that merely went quiet was resolved by nobody. */
function statusOf(detection: Detection): readonly [number, string] {
  if (detection.suppressedBy !== undefined) return [3, 'Suppressed'];
  return detection.activity === 'close' ? [99, 'Ended'] : [1, 'New'];
}
