import { type NetworkSet, parseAddress } from '../response/index.ts';
import { SEVERITIES, type Severity } from './severity.ts';

/** A technique of MITRE ATT&CK (Enterprise, version 17). */
export interface Technique {
  /** Such as `T1046` or `T1498.001`. */
  readonly id: string;
  readonly name: string;
  /** Name of the technique above a sub-technique. */
  readonly parentName?: string;
  readonly tacticId: string;
  readonly tacticName: string;
}

interface KindEntry {
  readonly title: string;
  readonly technique?: Technique;
  /** Where the source is not one of ours. */
  readonly externalTechnique?: Technique;
  readonly severity: Severity;
  /** Steps added where the source is one of our own hosts. */
  readonly internalSteps?: number;
  readonly groupedBy: 'source' | 'destination';
  /** Flagged flows before there is a finding: more than one where the kind is plural by nature. */
  readonly minFlows: number;
}

const NETWORK_SERVICE_DISCOVERY: Technique = {
  id: 'T1046',
  name: 'Network Service Discovery',
  tacticId: 'TA0007',
  tacticName: 'Discovery',
};
const SCANNING_IP_BLOCKS: Technique = {
  id: 'T1595.001',
  name: 'Scanning IP Blocks',
  parentName: 'Active Scanning',
  tacticId: 'TA0043',
  tacticName: 'Reconnaissance',
};
const SCAN = {
  technique: NETWORK_SERVICE_DISCOVERY,
  externalTechnique: SCANNING_IP_BLOCKS,
  severity: 'low',
  // A host of ours that scans is probably no longer ours alone.
  internalSteps: 1,
  groupedBy: 'source',
  minFlows: 3,
} as const;
const IMPACT = { tacticId: 'TA0040', tacticName: 'Impact' } as const;
const COMMAND_AND_CONTROL = { tacticId: 'TA0011', tacticName: 'Command and Control' } as const;

const KINDS: Readonly<Record<string, KindEntry>> = {
  'port-scan': { ...SCAN, title: 'Port scan' },
  'host-sweep': { ...SCAN, title: 'Sweep over hosts' },
  'icmp-sweep': { ...SCAN, title: 'Ping sweep over hosts' },
  'slow-scan': { ...SCAN, title: 'Slow scan' },
  'syn-flood': {
    title: 'SYN flood',
    technique: {
      id: 'T1498.001',
      name: 'Direct Network Flood',
      parentName: 'Network Denial of Service',
      ...IMPACT,
    },
    severity: 'high',
    // Its sources may all be forged: what is known is the victim.
    groupedBy: 'destination',
    minFlows: 3,
  },
  'slow-http': {
    title: 'Slow HTTP exhaustion',
    technique: {
      id: 'T1499.002',
      name: 'Service Exhaustion Flood',
      parentName: 'Endpoint Denial of Service',
      ...IMPACT,
    },
    severity: 'high',
    groupedBy: 'source',
    minFlows: 3,
  },
  'password-guessing': {
    title: 'Password guessing',
    technique: {
      id: 'T1110.001',
      name: 'Password Guessing',
      parentName: 'Brute Force',
      tacticId: 'TA0006',
      tacticName: 'Credential Access',
    },
    severity: 'medium',
    internalSteps: 1,
    groupedBy: 'source',
    minFlows: 3,
  },
  'dns-tunnel': {
    title: 'Tunnel through DNS',
    technique: {
      id: 'T1071.004',
      name: 'DNS',
      parentName: 'Application Layer Protocol',
      ...COMMAND_AND_CONTROL,
    },
    severity: 'high',
    groupedBy: 'source',
    minFlows: 1,
  },
  beaconing: {
    title: 'Beaconing',
    technique: { id: 'T1071', name: 'Application Layer Protocol', ...COMMAND_AND_CONTROL },
    severity: 'high',
    groupedBy: 'source',
    minFlows: 3,
  },
  exfiltration: {
    title: 'Exfiltration',
    technique: {
      id: 'T1048',
      name: 'Exfiltration Over Alternative Protocol',
      tacticId: 'TA0010',
      tacticName: 'Exfiltration',
    },
    severity: 'critical',
    groupedBy: 'source',
    minFlows: 1,
  },
};

/** A kind this version does not know, or none: no technique is claimed. */
const OTHER: KindEntry = {
  title: 'Suspicious traffic',
  severity: 'medium',
  groupedBy: 'source',
  minFlows: 1,
};

/** Networks taken for our own where no others are configured: those that no provider routes. */
export const PRIVATE_NETWORKS: readonly string[] = [
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '100.64.0.0/10',
  '169.254.0.0/16',
  '198.18.0.0/15',
  'fc00::/7',
  'fe80::/10',
];

/** The name under which scores without a kind are grouped. */
export const UNNAMED_KIND = 'unnamed';

/** Below it a finding weighs one step less. */
const LOW_CONFIDENCE = 0.75;

export function kindEntry(kind: string): KindEntry {
  return Object.hasOwn(KINDS, kind) ? (KINDS[kind] as KindEntry) : OTHER;
}

/** Whether the address belongs to us. What is not an address does not. */
export function isInternal(address: string, ownNetworks: NetworkSet): boolean {
  const parsed = parseAddress(address);
  return parsed !== undefined && ownNetworks.find(parsed, 0) !== undefined;
}

/** The technique a finding shows, which depends on which side of the fence its source stands. */
export function techniqueOf(kind: string, isSourceInternal: boolean): Technique | undefined {
  const entry = kindEntry(kind);
  return (isSourceInternal ? undefined : entry.externalTechnique) ?? entry.technique;
}

export function severityOf(kind: string, isSourceInternal: boolean, confidence: number): Severity {
  const entry = kindEntry(kind);
  const steps = (isSourceInternal ? (entry.internalSteps ?? 0) : 0) - (confidence < LOW_CONFIDENCE ? 1 : 0);
  const at = SEVERITIES.indexOf(entry.severity) + steps;
  return SEVERITIES[Math.min(Math.max(at, 0), SEVERITIES.length - 1)] as Severity;
}
