import { COUNTED_DISTINCT, type Detection } from './detection.ts';
import { escapeQuoted } from './escape.ts';

/**
 * One readable line, such as
 * `2026-01-01T00:00:00.000Z MEDIUM port-scan 10.0.0.5 -> 10.0.0.9 (80 ports): 120 flows, P 0.998, T1046, would block: ...`
 */
export function formatLine(detection: Detection): string {
  const { kind, flows, technique, decision, severity, score, source, destination } = detection;
  const parts = [
    new Date(detection.lastSeenMs).toISOString(),
    severity.toUpperCase(),
    detection.activity === 'create' ? '' : `[${detection.activity}]`,
    escapeQuoted(kind),
    `${describe(source, 'hosts')} -> ${describe(destination, 'hosts')}${ports(detection)}:`,
    `${flows} ${flows === 1 ? 'flow' : 'flows'},`,
    `P ${score.probability.toFixed(3)},`,
    technique === undefined ? '' : `${technique.id},`,
    `${decision.verdict}: ${escapeQuoted(decision.reason)}`,
    detection.suppressedBy === undefined ? '' : `(silenced by "${escapeQuoted(detection.suppressedBy)}")`,
  ];
  return parts.filter((part) => part !== '').join(' ');
}

function describe(party: Detection['source'], word: string): string {
  const first = escapeQuoted(party.address);
  return party.addressCount > 1 ? `${first} and ${countOf(party.addressCount, 1)} more ${word}` : first;
}

function ports({ destination }: Detection): string {
  if (destination.portCount > 1) return ` (${countOf(destination.portCount)} ports)`;
  const [port] = destination.ports;
  return port === undefined || port === 0 ? '' : ` (port ${port})`;
}

/** A count that stands still at its bound is only the least it can be. */
function countOf(count: number, less = 0): string {
  return `${count >= COUNTED_DISTINCT ? 'at least ' : ''}${count - less}`;
}
