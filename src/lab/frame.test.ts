import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ipv4, ipv4Number, ipv6Text, LINUX } from './address.ts';
import { fold, sum } from './frame.ts';
import { labPackets } from './index.ts';

/** Sums the whole packet as a receiver does: what was cut off is zero. 0 when the checksum is right. */
function verify(frame: Uint8Array): { ip: number; layer4: number; protocol: number } {
  const isV6 = ((frame[14] as number) & 0xf0) === 0x60;
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  const protocol = frame[isV6 ? 20 : 23] as number;
  const at = isV6 ? 54 : 34;
  const length = isV6 ? view.getUint16(18) : view.getUint16(16) - 20;
  const ip = isV6 ? 0 : fold(sum(frame, 14, 34, 0));
  if (![6, 17, 1, 58].includes(protocol)) return { ip, layer4: 0, protocol };
  const pseudo = protocol === 1 ? 0 : sum(frame, isV6 ? 22 : 26, at, protocol + length);
  return { ip, layer4: fold(sum(frame, at, Math.min(frame.length, at + length), pseudo)), protocol };
}

test('every checksum of IPv4, TCP, UDP, ICMP and ICMPv6 is right', () => {
  const protocols = new Set<number>();
  let wrong = 0;
  for (const { bytes } of labPackets({ seed: 1, seconds: 60, scale: 0.6, snapLength: 1514 })) {
    const { ip, layer4, protocol } = verify(bytes);
    protocols.add(protocol);
    if (ip !== 0 || layer4 !== 0) wrong++;
  }
  assert.equal(wrong, 0);
  for (const protocol of [6, 17, 1, 58, 47]) assert.ok(protocols.has(protocol), `protocol ${protocol}`);
});

test('a checksum counts an odd last byte as the high one', () => {
  assert.equal(fold(sum(Uint8Array.of(0x12, 0x34, 0x56), 0, 3, 0)), ~(0x1234 + 0x5600) & 0xffff);
});

test('IPv6 text is canonical', () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff })), { minLength: 8, maxLength: 8 }),
      (groups) => {
        // The platform writes IPv4-mapped addresses in hex as we do.
        const url = new URL(`http://[${groups.map((group) => group.toString(16)).join(':')}]/`);
        assert.equal(`[${ipv6Text(groups)}]`, url.hostname);
      },
    ),
  );
});

test('a group address has the Ethernet address of its group', () => {
  assert.deepEqual([...ipv4(ipv4Number('224.0.0.251'), LINUX).mac], [1, 0, 0x5e, 0, 0, 251]);
});
