import { isIPv6 } from 'node:net';
import type { Detection } from './detection.ts';
import { escapeWire } from './escape.ts';
import { PRODUCT, protocolName } from './product.ts';
import type { Severity } from './severity.ts';

/** CEF counts from 0 to 10. */
const SEVERITY: Readonly<Record<Severity, number>> = {
  informational: 1,
  low: 3,
  medium: 5,
  high: 8,
  critical: 10,
};

/** One line in ArcSight's Common Event Format, version 0; goes into syslog as it is. */
export function formatCef(detection: Detection): string {
  const { technique, source, destination, evidence, decision } = detection;
  const sample = evidence.flows[0];
  const hasPorts = sample !== undefined && (sample.protocol === 6 || sample.protocol === 17);
  const header = [PRODUCT.vendor, PRODUCT.name, PRODUCT.version, detection.kind, detection.title];
  const fields: readonly (readonly [string, string | number | undefined])[] = [
    ['rt', Math.trunc(detection.modifiedMs)],
    ['start', Math.trunc(detection.firstSeenMs)],
    ['end', Math.trunc(detection.lastSeenMs)],
    ...addressFields('src', 'c6a2', 'Source IPv6 Address', source.address),
    ['spt', hasPorts ? sample.sourcePort : undefined],
    ...addressFields('dst', 'c6a3', 'Destination IPv6 Address', destination.address),
    ['dpt', hasPorts ? sample.destinationPort : undefined],
    ['proto', sample === undefined ? undefined : protocolName(sample.protocol)],
    ['cnt', detection.flows],
    ['act', decision.verdict],
    ['externalId', detection.uid],
    ['cat', technique?.tacticName],
    ['cs1Label', technique && 'ATT&CK technique'],
    ['cs1', technique?.id],
    ['cs2Label', 'model'],
    ['cs2', `${detection.model.name}@${detection.model.version}`],
    ['cs3Label', 'activity'],
    ['cs3', detection.activity],
    ['cfp1Label', 'probability'],
    ['cfp1', detection.score.probability],
    ['reason', decision.reason],
  ];
  const extension = fields
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `${key}=${escapeExtension(String(value))}`)
    .join(' ');
  return `CEF:0|${header.map(escapeHeader).join('|')}|${SEVERITY[detection.severity]}|${extension}`;
}

/** `src` and `dst` are IPv4 in CEF; IPv6 has custom fields of its own. */
function addressFields(key: string, custom: string, label: string, address: string): [string, string][] {
  if (!isIPv6(address)) return [[key, address]];
  return [
    [`${custom}Label`, label],
    [custom, address],
  ];
}

/** `escapeWire` has doubled backslashes and left no newline. */
function escapeHeader(text: string): string {
  return escapeWire(text).replaceAll('|', '\\|');
}

function escapeExtension(text: string): string {
  return escapeWire(text).replaceAll('=', '\\=');
}
