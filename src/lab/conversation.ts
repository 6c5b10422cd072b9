import type { Address } from './address.ts';

/** What the capture point sees of a host's traffic: a capture may begin late, end early, or miss a direction. */
export interface Lens {
  readonly fromUs: number;
  readonly toUs: number;
  /** 1: only what the initiator sends; 2: only what the responder sends; 3: both. */
  readonly directions: 1 | 2 | 3;
}

export const WHOLE: Lens = { fromUs: 0, toUs: Number.POSITIVE_INFINITY, directions: 3 };

export const TCP = 6;
export const UDP = 17;
export const ICMP = 1;
export const ICMPV6 = 58;

/** Everything that is the same in all packets of one conversation, and what labels need to know of it. */
export interface Conversation {
  /** `benign` or an attack kind. */
  readonly label: string;
  readonly protocol: number;
  readonly client: Address;
  readonly server: Address;
  readonly clientPort: number;
  readonly serverPort: number;
  readonly lens: Lens;
  /** Bytes of TCP options on the initiator's SYN (0, 4 or 20) and on other segments (0 or 12). */
  readonly synOptions: number;
  readonly dataOptions: number;
  /** Next IPv4 identification; moves as packets are written. */
  ipId: number;
  /** Microseconds of the first and last packet that the capture holds; first is -1 until there is one. */
  firstUs: number;
  lastUs: number;
  /** Whether the run has taken note of it. */
  seen: boolean;
}
