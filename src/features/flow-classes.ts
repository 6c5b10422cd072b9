import type { ConnectionState } from '../traffic/index.ts';

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

const TCP = 6;
const UDP = 17;

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

/** Index into `PROTOCOL_CLASSES` of an IP protocol number. */
export function protocolClass(protocol: number): number {
  if (protocol === TCP) return 0;
  if (protocol === UDP) return 1;
  return protocol === 1 || protocol === 58 ? 2 : 3;
}

/** Index into `SERVICE_CLASSES` of a responder's port; protocols without ports have none. */
export function serviceClass(protocol: number, port: number): number {
  return protocol === TCP || protocol === UDP ? (SERVICE_OF_PORT[port] ?? 0) : 0;
}

/** Class of a connection's end; for everything but TCP only whether an answer came. */
export function stateClass(protocol: number, of: ConnectionState): StateClass {
  if (protocol === TCP) return TCP_STATES[of];
  return of === 'S0' ? ONE_WAY : TWO_WAY;
}

/** Protocol and responder's port as one whole number below 2^24; the port counts where there are ports. */
export function serviceKey(protocol: number, port: number): number {
  return protocol === TCP || protocol === UDP ? protocol * 65_536 + port : protocol * 65_536;
}
