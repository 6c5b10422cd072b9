import type { ConnectionState } from '../../../src/traffic/index.ts';

/** How one side of a TCP connection stands; `partial` spoke without a SYN. */
export const SIDE = {
  inactive: 0,
  partial: 1,
  synSent: 2,
  synAckSent: 3,
  established: 4,
  closed: 5,
  reset: 6,
} as const;

/** Both sides after `sender` sent a segment with `flags`: a small form of Zeek's TCP endpoint machine. */
export function afterSegment(sender: number, peer: number, flags: number): { sender: number; peer: number } {
  const [isFin, isSyn, isRst, isAck] = [1, 2, 4, 16].map((bit) => (flags & bit) !== 0);
  if (isRst) {
    const isOver = peer === SIDE.reset || (sender === SIDE.closed && peer === SIDE.closed);
    return { sender: isOver ? sender : SIDE.reset, peer };
  }
  if (isFin) return { sender: sender === SIDE.reset ? sender : SIDE.closed, peer };
  if (isSyn && isAck && peer === SIDE.synSent && sender <= SIDE.synSent) {
    return { sender: SIDE.established, peer: SIDE.established };
  }
  if (isSyn) {
    if (sender > SIDE.partial) return { sender, peer };
    return { sender: isAck ? SIDE.synAckSent : SIDE.synSent, peer };
  }
  return { sender: sender === SIDE.inactive ? SIDE.partial : sender, peer };
}

/** Zeek's name for how a TCP connection stands (conn.log, field conn_state). */
export function stateName(initiator: number, responder: number): ConnectionState {
  const isUnseen = (side: number) => side <= SIDE.partial;
  if (responder === SIDE.reset) {
    if (initiator === SIDE.synSent || initiator === SIDE.synAckSent) return 'REJ';
    return isUnseen(initiator) ? 'RSTRH' : 'RSTR';
  }
  if (initiator === SIDE.reset) return isUnseen(responder) ? 'RSTOS0' : 'RSTO';
  if (initiator === SIDE.closed && responder === SIDE.closed) return 'SF';
  if (initiator === SIDE.closed) return isUnseen(responder) ? 'SH' : 'S2';
  if (responder === SIDE.closed) return isUnseen(initiator) ? 'SHR' : 'S3';
  if (initiator === SIDE.synSent && responder === SIDE.inactive) return 'S0';
  return initiator === SIDE.established && responder === SIDE.established ? 'S1' : 'OTH';
}
