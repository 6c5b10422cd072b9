import fc from 'fast-check';
import {
  CONNECTION_STATES,
  type FlowRecord,
  MEASURES,
  type Measure,
  SOURCE_KINDS,
  type SourceKind,
  TUNNEL_KINDS,
  type TunnelKind,
} from '../../src/traffic/index.ts';

const count = fc.oneof(
  { weight: 12, arbitrary: fc.nat(5000) },
  fc.constantFrom(0, Number.NaN, 1e13, Number.POSITIVE_INFINITY, 0.25),
);
const direction = fc.record({
  packets: count,
  bytes: count,
  payloadBytes: count,
  tcpFlags: fc.oneof(fc.nat(255), fc.constant(Number.NaN)),
});
const measures = fc.dictionary(
  fc.constantFrom<Measure[]>(...MEASURES),
  fc.oneof(count, fc.integer({ min: -9, max: 300 })),
  {
    maxKeys: 30,
  },
);

/** Flows among a few hosts and services, any measure or none, in any order of time within `spanMs`. */
export function randomFlow(spanMs: number, sourceKind: SourceKind = 'packets'): fc.Arbitrary<FlowRecord> {
  const host = (net: number) =>
    fc.tuple(fc.boolean(), fc.nat(24)).map(([isV4, n]) => (isV4 || n < 20 ? `10.0.${net}.${n}` : n));
  return fc
    .record({
      protocol: fc.constantFrom(6, 6, 6, 17, 1, 58, 47),
      from: host(0),
      to: host(1),
      sourcePort: fc.nat(65_535),
      destinationPort: fc.oneof(fc.constantFrom(443, 22, 53), fc.nat(65_535), fc.nat(30)),
      startMs: fc.nat(spanMs),
      duration: fc.integer({ min: -5, max: 90_000 }),
      forward: direction,
      backward: direction,
      state: fc.constantFrom(...CONNECTION_STATES),
      handshake: fc.constantFrom(true, false, undefined),
      tunnel: fc.constantFrom<TunnelKind[]>('none', 'none', ...TUNNEL_KINDS),
      measures: fc.option(measures, { nil: undefined }),
    })
    .map(({ from, to, duration, handshake, tunnel, measures: given, ...rest }) => {
      const isV4 = typeof from === 'string' && typeof to === 'string';
      const address = (side: string, host: string | number) =>
        isV4 ? String(host) : `2001:db8:${side}::${typeof host === 'number' ? host : 1}`;
      return {
        ...rest,
        sourceKind,
        sourceAddress: address('1', from),
        destinationAddress: address('2', to),
        endMs: rest.startMs + duration,
        endReason: 'reported',
        ...(handshake !== undefined && { handshakeSeen: handshake }),
        ...(given !== undefined && { measures: given }),
        ...(tunnel !== 'none' && { tunnel: { kind: tunnel, id: 7 } }),
      } satisfies FlowRecord;
    });
}

/** Any source kind. */
export const randomKind: fc.Arbitrary<SourceKind> = fc.constantFrom(...SOURCE_KINDS);
