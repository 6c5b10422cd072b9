import type { Milliseconds } from '../base/index.ts';
import { NetworkSet, parseAddress } from '../response/index.ts';
import type { Detection } from './detection.ts';
import { AlertsError } from './errors.ts';

/** Silences notices of what fits all of its conditions, until it expires. What it silences is stored. */
export interface SuppressionRule {
  readonly id: string;
  readonly kind?: string;
  /** Address or network of the source. */
  readonly source?: string;
  readonly destination?: string;
  /** Wall time; a rule without an end would be forgotten and still work. */
  readonly untilMs: Milliseconds;
  readonly reason: string;
}

interface ReadRule {
  readonly rule: SuppressionRule;
  readonly source?: NetworkSet;
  readonly destination?: NetworkSet;
}

export class SuppressionList {
  readonly #rules: readonly ReadRule[];

  /** Throws `alerts.bad-suppression`. */
  constructor(rules: readonly SuppressionRule[] = []) {
    this.#rules = rules.map((rule) => {
      if (rule.kind === undefined && rule.source === undefined && rule.destination === undefined) {
        throw bad(rule, 'it would silence everything');
      }
      if (!Number.isFinite(rule.untilMs)) throw bad(rule, 'it has no end');
      return {
        rule,
        ...(rule.source !== undefined && { source: networkOf(rule, rule.source) }),
        ...(rule.destination !== undefined && { destination: networkOf(rule, rule.destination) }),
      };
    });
  }

  /** The first rule in force that silences the finding. A side of many addresses fits if every sampled one does. */
  find(detection: Detection, nowMs: Milliseconds): SuppressionRule | undefined {
    return this.#rules.find(
      ({ rule, source, destination }) =>
        rule.untilMs > nowMs &&
        (rule.kind === undefined || rule.kind === detection.kind) &&
        (source === undefined || detection.source.addresses.every((a) => contains(source, a))) &&
        (destination === undefined || detection.destination.addresses.every((a) => contains(destination, a))),
    )?.rule;
  }
}

function contains(networks: NetworkSet, address: string): boolean {
  const parsed = parseAddress(address);
  return parsed !== undefined && networks.find(parsed, 0) !== undefined;
}

function networkOf(rule: SuppressionRule, network: string): NetworkSet {
  try {
    return new NetworkSet([{ network, reason: rule.reason }]);
  } catch (error) {
    throw bad(rule, `${JSON.stringify(network)} is no network`, error);
  }
}

function bad(rule: SuppressionRule, why: string, cause?: unknown): AlertsError {
  return new AlertsError('alerts.bad-suppression', `rule ${JSON.stringify(rule.id)}: ${why}`, { cause });
}
