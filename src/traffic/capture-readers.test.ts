import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  block,
  concat,
  ethernet,
  interfaceBlock,
  ipv4,
  oldPacketBlock,
  packetBlock,
  pcapFile,
  sectionBlock,
  simplePacketBlock,
  u32,
  udp,
} from '../../test/support/packets.ts';
import { PcapReader } from '../../test/support/pcap-reader.ts';
import type { CaptureReader, FaultSink, PacketSink } from './capture-reader.ts';
import { isPcap } from './pcap-header.ts';
import { isPcapng, PcapngReader } from './pcapng-reader.ts';

type Make = (packet: PacketSink, fault: FaultSink) => CaptureReader;
const pcap: Make = (packet, fault) => new PcapReader(packet, fault);
const pcapng: Make = (packet, fault) => new PcapngReader(packet, fault);

const P1 = ethernet(0x0800, ipv4('10.0.0.1', '10.0.0.2', 17, udp(1000, 53, 5)));
const P2 = ethernet(0x0800, ipv4('10.0.0.2', '10.0.0.1', 17, udp(53, 1000, 80)));
const TIME = 1_700_000_000_123.456;
const MICROS = 1_700_000_000_123_456;

/** Every packet as text, and the faults, of a file fed in pieces of `size`. */
function read(make: Make, file: Uint8Array<ArrayBuffer>, size = file.length) {
  const packets: string[] = [];
  const faults: string[] = [];
  const reader = make(
    (bytes, offset, end, linkType, timeMs, wireLength) => {
      const content = Buffer.from(bytes.subarray(offset, end)).toString('hex');
      packets.push(`${linkType} ${timeMs.toFixed(3)} ${wireLength} ${content}`);
    },
    (code) => faults.push(code),
  );
  for (let at = 0; at < file.length; at += size) {
    // A reader must not keep the chunk: it is overwritten after the call, as a stream may do.
    const chunk = file.slice(at, at + size);
    if (!reader.push(chunk)) break;
    chunk.fill(0xee);
  }
  reader.end();
  return { packets, faults };
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const BOTH = [`1 ${TIME.toFixed(3)} ${P1.length} ${hex(P1)}`, `1 ${TIME.toFixed(3)} 1514 ${hex(P2)}`];
const PACKETS = [
  { bytes: P1, timeMs: TIME },
  { bytes: P2, timeMs: TIME, wireLength: 1514 },
];
const WITH_EVERYTHING = concat(
  sectionBlock(),
  interfaceBlock(1),
  block(5, new Uint8Array(20)),
  packetBlock(0, MICROS, P1),
  interfaceBlock(101, true, { resolution: 9 }),
  packetBlock(1, MICROS * 1000, P1.subarray(14)),
  simplePacketBlock(P1),
  oldPacketBlock(0, MICROS, P2),
  block(0x0bad, new Uint8Array(1000)),
  sectionBlock(false),
  interfaceBlock(1, false, { resolution: 3, offsetSeconds: 5 }),
  packetBlock(0, 1000, P2, false),
  interfaceBlock(1, false, { resolution: 0x80 | 10 }),
  packetBlock(1, 2048, P2, false),
);

for (const little of [true, false]) {
  for (const nano of [true, false]) {
    test(`reads pcap in ${little ? 'little' : 'big'} endian with ${nano ? 'nano' : 'micro'}seconds`, () => {
      const file = pcapFile(PACKETS, { little, nano });
      assert.ok(isPcap(file) && !isPcapng(file));
      assert.deepEqual(read(pcap, file), { packets: BOTH, faults: [] });
    });
  }
}

test('reads pcapng: sections of both byte orders, interfaces, three packet blocks, resolutions, unknown blocks', () => {
  assert.ok(isPcapng(WITH_EVERYTHING) && !isPcap(WITH_EVERYTHING));
  const { packets, faults } = read(pcapng, WITH_EVERYTHING);
  assert.deepEqual(faults, []);
  const [one, two, ip] = [hex(P1), hex(P2), hex(P1.subarray(14))];
  assert.deepEqual(packets, [
    `1 ${TIME.toFixed(3)} ${P1.length} ${one}`,
    `101 ${TIME.toFixed(3)} ${P1.length - 14} ${ip}`,
    `1 ${TIME.toFixed(3)} ${P1.length} ${one}`,
    `1 ${TIME.toFixed(3)} ${P2.length} ${two}`,
    `1 6000.000 ${P2.length} ${two}`,
    `1 2000.000 ${P2.length} ${two}`,
  ]);
});

test('gives a simple packet before any other the time 0, and cuts it at the snap length', () => {
  const file = concat(sectionBlock(), interfaceBlock(1, true, { snapLength: 20 }), simplePacketBlock(P1));
  assert.deepEqual(read(pcapng, file).packets, [`1 0.000 ${P1.length} ${hex(P1.subarray(0, 20))}`]);
});

for (const [name, make, file] of [
  ['pcap', pcap, pcapFile(PACKETS)],
  ['pcapng', pcapng, WITH_EVERYTHING],
] as const) {
  test(`reads the same from ${name} in pieces of any size`, () => {
    const whole = read(make, file);
    for (const size of [1, 2, 3, 7, 16, 31, 64, 100])
      assert.deepEqual(read(make, file, size), whole, `size ${size}`);
  });

  test(`reads what is whole of a ${name} file cut at any length, and counts the cut`, () => {
    const whole = read(make, file).packets;
    for (let length = 0; length < file.length; length++) {
      const { packets, faults } = read(make, file.slice(0, length));
      assert.deepEqual(packets, whole.slice(0, packets.length));
      assert.ok(faults.length <= 1);
      assert.deepEqual(read(make, file.slice(0, length), 97), { packets, faults }, `length ${length}`);
    }
  });

  test(`takes a ${name} file with random damage without throwing or inventing packets`, () => {
    const damage = fc.array(fc.tuple(fc.nat(file.length - 1), fc.nat(255)), { maxLength: 8 });
    fc.assert(
      fc.property(damage, fc.integer({ min: 1, max: 200 }), (changes, size) => {
        const damaged = file.slice();
        for (const [at, value] of changes) damaged[at] = value;
        assert.ok(read(make, damaged, size).packets.length <= file.length / 16);
      }),
      { numRuns: 500 },
    );
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => void read(make, bytes.slice())));
  });
}

const section = concat(sectionBlock(), interfaceBlock(1));
const FAULTS: readonly (readonly [string, Make, Uint8Array, number])[] = [
  ['unknown-pcap-magic', pcap, new Uint8Array(24), 0],
  ['truncated-pcap-header', pcap, pcapFile([]).slice(0, 23), 0],
  ['truncated-packet-record', pcap, pcapFile(PACKETS).slice(0, -1), 1],
  [
    'oversized-packet-record',
    pcap,
    concat(pcapFile(PACKETS), new Uint8Array(8), u32(262_145, true), u32(0)),
    2,
  ],
  ['invalid-pcapng-section', pcapng, interfaceBlock(1), 0],
  ['invalid-pcapng-section', pcapng, concat(sectionBlock().subarray(0, 8), new Uint8Array(20)), 0],
  ['invalid-block-length', pcapng, concat(section, u32(6, true), u32(13, true), new Uint8Array(16)), 0],
  ['invalid-block-length', pcapng, concat(section, u32(6, true), u32(8, true), new Uint8Array(16)), 0],
  ['mismatched-block-length', pcapng, concat(section, packetBlock(0, 1, P1).subarray(0, -4), u32(99)), 0],
  ['truncated-block', pcapng, concat(section, u32(99, true), u32(0xfffffff0, true), new Uint8Array(16)), 0],
  ['oversized-block', pcapng, concat(section, block(6, new Uint8Array(1 << 20)), packetBlock(0, 1, P1)), 1],
  ['short-block', pcapng, concat(section, block(6, new Uint8Array(8)), packetBlock(0, 1, P1)), 1],
  ['short-block', pcapng, concat(sectionBlock(), block(1, new Uint8Array(4))), 0],
  ['unknown-interface', pcapng, concat(section, packetBlock(1, 1, P1), packetBlock(0, 1, P1)), 1],
  [
    'truncated-packet-record',
    pcapng,
    concat(section, block(6, concat(new Uint8Array(12), u32(40, true), u32(40)))),
    0,
  ],
  [
    'oversized-packet-record',
    pcapng,
    concat(section, block(6, concat(new Uint8Array(12), u32(262_145, true), new Uint8Array(262_149)))),
    0,
  ],
  [
    'too-many-interfaces',
    pcapng,
    concat(
      sectionBlock(),
      ...Array.from({ length: 4097 }, () => interfaceBlock(1)),
      packetBlock(4095, 1, P1),
    ),
    1,
  ],
];

for (const [code, make, file, packets] of FAULTS) {
  test(`counts ${code} and reads ${packets} packets (${file.length} bytes)`, () => {
    const result = read(make, file.slice());
    assert.deepEqual([result.faults, result.packets.length], [[code], packets]);
  });
}
