import type { FlowRecord } from '../traffic/index.ts';

const TCP = 6;
const ACK = 0x10;
const SYN_ACK = 0x12;
const ESTABLISHED = new Set(['S1', 'SF', 'S2', 'S3']);
const RESET_AFTER = new Set(['RSTO', 'RSTR']);

/**
 * Whether this flow shows that its source address is not forged: a completed TCP handshake.
 *
 * A host whose address was forged answers the surprising SYN-ACK with a bare RST, which meters report as RSTO;
 * and a forger may guess a final ACK, which the server answers with RST. So a flow that ended by RST proves
 * its source only when both sides also sent data. UDP and ICMP never prove a source.
 */
export function isSourceProven(flow: FlowRecord): boolean {
  if (flow.protocol !== TCP) return false;
  // Our own meter saw whether the number in the SYN+ACK came back; other sources only tell of states.
  if (flow.handshakeSeen !== undefined) return flow.handshakeSeen;
  const { forward, backward } = flow;
  // A source that reports no flags (NaN) is taken at its word about the state.
  if (!Number.isNaN(forward.tcpFlags) && (forward.tcpFlags & ACK) === 0) return false;
  if (!Number.isNaN(backward.tcpFlags) && (backward.tcpFlags & SYN_ACK) !== SYN_ACK) return false;
  if (ESTABLISHED.has(flow.state)) return true;
  return RESET_AFTER.has(flow.state) && forward.payloadBytes > 0 && backward.payloadBytes > 0;
}
