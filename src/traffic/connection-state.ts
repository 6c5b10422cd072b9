import type { ConnectionState } from './flow.ts';

/** States of one side of a TCP connection, by Zeek's TCP endpoint machine. */
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
