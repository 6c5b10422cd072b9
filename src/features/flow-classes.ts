import { CONNECTION_STATES, type ConnectionState, TUNNEL_KINDS } from '../traffic/index.ts';

/** Classes of IP protocols; the index is the value of the column `protocol`. */
export const PROTOCOL_CLASSES = ['tcp', 'udp', 'icmp', 'other'] as const;

/** Classes of the responder's port; the index is the value of the column `service`. */
export const SERVICE_CLASSES = [
  'none',
  'dns',
  'http',
  'https',
  'ssh',
  'telnet',
  'ftp',
  'mail',
  'ntp',
  'smb',
  'remote-desktop',
  'database',
  'dhcp',
  'snmp',
  'discovery',
  'other-wellknown',
  'registered',
  'dynamic',
] as const;

/** How a connection went; the index is the value of the column `state`. */
export const STATE_CLASSES = [
  'attempt',
  'established',
  'rejected',
  'reset',
  'partial',
  'one-way',
  'two-way',
] as const;

/** Whose port the initiator spoke from: IANA's ranges; none for protocols without ports. */
export const PORT_CLASSES = ['none', 'system', 'registered', 'dynamic'] as const;

/** Kinds of the first ICMP or ICMPv6 message; none for other protocols. */
export const ICMP_CLASSES = [
  'none',
  'echo-request',
  'echo-reply',
  'unreachable',
  'time-exceeded',
  'redirect',
  'neighbour',
  'multicast',
  'other',
] as const;

/** Types of the first DNS question. */
export const DNS_QUERY_CLASSES = [
  'a',
  'aaaa',
  'ns',
  'cname',
  'soa',
  'ptr',
  'mx',
  'txt',
  'srv',
  'https',
  'null',
  'any',
  'transfer',
  'other',
] as const;

/** Kinds of tunnel a flow came in, as `TUNNEL_KINDS`. */
export const TUNNEL_CLASSES = TUNNEL_KINDS;

const TCP = 6;
const UDP = 17;
const ICMP = 1;
const ICMPV6 = 58;

type ServiceClass = (typeof SERVICE_CLASSES)[number];

const PORTS: Partial<Record<ServiceClass, readonly number[]>> = {
  dns: [53, 853],
  http: [80, 8000, 8008, 8080, 8888],
  https: [443, 8443],
  ssh: [22, 2222],
  telnet: [23, 2323],
  ftp: [20, 21],
  mail: [25, 110, 143, 465, 587, 993, 995],
  ntp: [123],
  smb: [139, 445],
  'remote-desktop': [3389, 5900],
  database: [1433, 1521, 3306, 5432, 6379, 9042, 9200, 11211, 27017],
  dhcp: [67, 68, 546, 547],
  snmp: [161, 162],
  discovery: [137, 138, 1900, 3702, 5353, 5355],
};

/** Class of each of the 65,536 ports: IANA's ranges first, then the ports that have a class of their own. */
const SERVICE_OF_PORT = new Uint8Array(65_536);
SERVICE_OF_PORT.fill(SERVICE_CLASSES.indexOf('other-wellknown'), 0, 1024);
SERVICE_OF_PORT.fill(SERVICE_CLASSES.indexOf('registered'), 1024, 49_152);
SERVICE_OF_PORT.fill(SERVICE_CLASSES.indexOf('dynamic'), 49_152);
for (const [name, ports] of Object.entries(PORTS)) {
  for (const port of ports) SERVICE_OF_PORT[port] = SERVICE_CLASSES.indexOf(name as ServiceClass);
}

interface StateClass {
  /** Index into `STATE_CLASSES`. */
  readonly index: number;
  /** The connection did not come about: no answer, a refusal, or a probe that never meant to connect. */
  readonly failed: boolean;
}

const state = (name: (typeof STATE_CLASSES)[number], failed = false): StateClass => ({
  index: STATE_CLASSES.indexOf(name),
  failed,
});

const TCP_STATES: Readonly<Record<ConnectionState, StateClass>> = {
  S0: state('attempt', true),
  S1: state('established'),
  S2: state('established'),
  S3: state('established'),
  SF: state('established'),
  REJ: state('rejected', true),
  RSTO: state('reset'),
  RSTR: state('reset'),
  RSTOS0: state('reset', true),
  RSTRH: state('reset', true),
  SH: state('partial', true),
  SHR: state('partial', true),
  OTH: state('partial'),
};
const ONE_WAY = state('one-way', true);
const TWO_WAY = state('two-way');

/** Types by number (IANA, ICMP parameters). */
const ICMP_TYPES = tableOf(ICMP_CLASSES, {
  'echo-request': [8],
  'echo-reply': [0],
  unreachable: [3],
  'time-exceeded': [11],
  redirect: [5],
});
const ICMPV6_TYPES = tableOf(ICMP_CLASSES, {
  'echo-request': [128],
  'echo-reply': [129],
  unreachable: [1],
  'time-exceeded': [3],
  redirect: [137],
  neighbour: [133, 134, 135, 136],
  multicast: [130, 131, 132, 143],
});
/** Types by number (IANA, DNS parameters). */
const DNS_TYPES = tableOf(DNS_QUERY_CLASSES, {
  a: [1],
  aaaa: [28],
  ns: [2],
  cname: [5],
  soa: [6],
  ptr: [12],
  mx: [15],
  txt: [16],
  srv: [33],
  https: [64, 65],
  null: [10],
  any: [255],
  transfer: [251, 252],
});

/** Index into `PROTOCOL_CLASSES` of an IP protocol number. */
export function protocolClass(protocol: number): number {
  if (protocol === TCP) return 0;
  if (protocol === UDP) return 1;
  return protocol === ICMP || protocol === ICMPV6 ? 2 : 3;
}

/** Index into `SERVICE_CLASSES` of a responder's port; protocols without ports have none. */
export function serviceClass(protocol: number, port: number): number {
  return protocol === TCP || protocol === UDP ? (SERVICE_OF_PORT[port] ?? 0) : 0;
}

/** Index into `STATE_CLASSES` by state (index into `CONNECTION_STATES`), first for TCP, then for the others; -1 unknown. */
const STATE_INDEX = new Int8Array(512).fill(-1);
/** 1 where a connection in that state did not come about; laid out alike. */
const STATE_FAILED = new Uint8Array(512);
for (const [index, name] of CONNECTION_STATES.entries()) {
  for (const [offset, { index: value, failed }] of [
    [0, TCP_STATES[name]],
    [256, name === 'S0' ? ONE_WAY : TWO_WAY],
  ] as const) {
    STATE_INDEX[offset + index] = value;
    STATE_FAILED[offset + index] = failed ? 1 : 0;
  }
}

/** Class of a connection's end by its index in `CONNECTION_STATES`, below 256; for everything but TCP only whether an answer came. */
export function stateClass(protocol: number, state: number): number {
  return STATE_INDEX[protocol === TCP ? state : 256 + state] as number;
}

/** 1 where the connection did not come about, else 0. */
export function hasFailed(protocol: number, state: number): number {
  return STATE_FAILED[protocol === TCP ? state : 256 + state] as number;
}

/** Index into `PORT_CLASSES` of an initiator's port. */
export function portClass(protocol: number, port: number): number {
  if (protocol !== TCP && protocol !== UDP) return 0;
  if (port < 1024) return 1;
  return port < 49_152 ? 2 : 3;
}

/** Index into `ICMP_CLASSES` of a message's type. */
export function icmpClass(protocol: number, type: number): number {
  if (protocol === ICMP) return ICMP_TYPES[type & 255] as number;
  return protocol === ICMPV6 ? (ICMPV6_TYPES[type & 255] as number) : 0;
}

/** Index into `DNS_QUERY_CLASSES` of a type of question; NaN where there was none, which 0 says, too. */
export function dnsQueryClass(type: number): number {
  if (!(type > 0)) return Number.NaN;
  return type < 256 ? (DNS_TYPES[type | 0] as number) : DNS_QUERY_CLASSES.length - 1;
}

/** Protocol and responder's port as one whole number below 2^24; the port counts where there are ports. */
export function serviceKey(protocol: number, port: number): number {
  return protocol === TCP || protocol === UDP ? protocol * 65_536 + port : protocol * 65_536;
}

/** Class of each number from 0 to 255; the last class is the rest. */
function tableOf<Name extends string>(
  classes: readonly Name[],
  numbers: Partial<Record<Name, readonly number[]>>,
): Uint8Array {
  const table = new Uint8Array(256).fill(classes.length - 1);
  classes.forEach((name, index) => {
    for (const number of numbers[name] ?? []) table[number] = index;
  });
  return table;
}
