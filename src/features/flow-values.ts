import type { FlowRecord } from '../traffic/index.ts';
import { protocolClass, serviceClass, stateClass } from './flow-classes.ts';
import { FLOW_INDEX as AT } from './flow-columns.ts';

/** Rates of flows shorter than this are taken over this: one packet in no time is no rate. */
const SHORTEST_MS = 1000;

/** Writes what a flow tells by itself into the scratch row. A count that the source lacks stays NaN. */
export function writeFlowValues(flow: FlowRecord, out: Float64Array): void {
  const { forward, backward, protocol } = flow;
  const durationMs = Math.max(0, flow.endMs - flow.startMs);
  const seconds = Math.max(durationMs, SHORTEST_MS) / 1000;
  const bytes = forward.bytes + backward.bytes;
  out[AT.protocol] = protocolClass(protocol);
  out[AT.service] = serviceClass(protocol, flow.destinationPort);
  out[AT.state] = stateClass(protocol, flow.state).index;
  out[AT.duration] = durationMs;
  out[AT.forward_packets] = forward.packets;
  out[AT.backward_packets] = backward.packets;
  out[AT.forward_bytes] = forward.bytes;
  out[AT.backward_bytes] = backward.bytes;
  out[AT.forward_bytes_per_packet] = ratio(forward.bytes, forward.packets);
  out[AT.backward_bytes_per_packet] = ratio(backward.bytes, backward.packets);
  out[AT.forward_byte_share] = forward.bytes / bytes; // 0 / 0 is NaN: no bytes, no share
  out[AT.packet_rate] = (forward.packets + backward.packets) / seconds;
  out[AT.byte_rate] = bytes / seconds;
  out[AT.forward_payload] = forward.payloadBytes;
  out[AT.backward_payload] = backward.payloadBytes;
  out[AT.payload_share] = (forward.payloadBytes + backward.payloadBytes) / bytes;
}

/** 0 where nothing was counted, so that a silent side is a value and not a gap. */
function ratio(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}
