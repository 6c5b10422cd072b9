import { SIDE, tcpConnectionState } from './connection-state.ts';
import { type ConnectionState, type DirectionCounts, TCP_FLAGS } from './flow.ts';

const TCP = 6;

/**
 * How a connection went, where a source reports the flags of each direction but not their order. TCP: a side with RST
 * reset the connection, unless both sides sent FIN (then it had closed); a side with FIN closed; a SYN that the other
 * side answered with a SYN is established, one that it did not is an attempt; a side that spoke without SYN was met
 * late. Flags that are not reported (NaN) give OTH. Other protocols: SF where both sides spoke, else S0.
 */
export function stateFromFlags(
  protocol: number,
  forward: DirectionCounts,
  backward: DirectionCounts,
): ConnectionState {
  if (protocol !== TCP) return hasSpoken(forward) && hasSpoken(backward) ? 'SF' : 'S0';
  if (Number.isNaN(forward.tcpFlags)) return 'OTH';
  return tcpConnectionState(sideOf(forward, backward), sideOf(backward, forward));
}

function sideOf(own: DirectionCounts, peer: DirectionCounts): number {
  if (!hasSpoken(own)) return SIDE.inactive;
  const { fin, syn, rst } = TCP_FLAGS;
  const bothClosed = (own.tcpFlags & peer.tcpFlags & fin) !== 0;
  if ((own.tcpFlags & rst) !== 0 && !bothClosed) return SIDE.reset;
  if ((own.tcpFlags & fin) !== 0) return SIDE.closed;
  if ((own.tcpFlags & syn) === 0) return SIDE.partial;
  return (peer.tcpFlags & syn) !== 0 ? SIDE.established : SIDE.synSent;
}

function hasSpoken(side: DirectionCounts): boolean {
  return side.packets > 0 || side.bytes > 0 || side.payloadBytes > 0;
}
