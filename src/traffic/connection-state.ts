import { type ConnectionState, TCP_FLAGS } from './flow.ts';

/** States of one side of a TCP connection, as numbers for the flow table (4 bits). */
export const SIDE = {
  inactive: 0,
  /** Spoke without a SYN: the capture began late. */
  partial: 1,
  synSent: 2,
  synAckSent: 3,
  established: 4,
  closed: 5,
  reset: 6,
} as const;

/**
 * The states after one side sent a segment with `flags`: the sender's in the low 4 bits, its peer's in the next 4.
 * A small form of Zeek's TCP endpoint machine; the first RST counts, and none after both sides have closed.
 */
export function advanceTcp(sender: number, peer: number, flags: number): number {
  let own = sender;
  let other = peer;
  if ((flags & TCP_FLAGS.rst) !== 0) {
    if (peer !== SIDE.reset && !(sender === SIDE.closed && peer === SIDE.closed)) own = SIDE.reset;
  } else if ((flags & TCP_FLAGS.fin) !== 0) {
    if (sender !== SIDE.reset) own = SIDE.closed;
  } else if ((flags & TCP_FLAGS.syn) !== 0) {
    if ((flags & TCP_FLAGS.ack) !== 0 && peer === SIDE.synSent && sender <= SIDE.synSent) {
      own = SIDE.established;
      other = SIDE.established;
    } else if (sender <= SIDE.partial) {
      own = (flags & TCP_FLAGS.ack) !== 0 ? SIDE.synAckSent : SIDE.synSent;
    }
  } else if (sender === SIDE.inactive) {
    own = SIDE.partial;
  }
  return own | (other << 4);
}

/** Zeek's name for how a TCP connection stands. */
export function tcpConnectionState(initiator: number, responder: number): ConnectionState {
  const initiatorUnseen = initiator <= SIDE.partial;
  const responderUnseen = responder <= SIDE.partial;
  if (responder === SIDE.reset) {
    if (initiator === SIDE.synSent || initiator === SIDE.synAckSent) return 'REJ';
    return initiatorUnseen ? 'RSTRH' : 'RSTR';
  }
  if (initiator === SIDE.reset) return responderUnseen ? 'RSTOS0' : 'RSTO';
  if (initiator === SIDE.closed && responder === SIDE.closed) return 'SF';
  if (initiator === SIDE.closed) return responderUnseen ? 'SH' : 'S2';
  if (responder === SIDE.closed) return initiatorUnseen ? 'SHR' : 'S3';
  if (initiator === SIDE.synSent && responder === SIDE.inactive) return 'S0';
  if (initiator === SIDE.established && responder === SIDE.established) return 'S1';
  return 'OTH';
}
