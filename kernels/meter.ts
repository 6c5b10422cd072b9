// The flow meter: frames a capture, parses its packets, keeps the open flows and writes ended ones as columns.
// The naive twin under test/twins says the same more simply; src/traffic/meter/kernel-meter.ts is the host.
//
// Packets go through in batches: all are parsed first, then the places of the flow index, then the lines of the flow
// records that they need are read, and only then is anything updated. Reads of one pass do not wait for each other, so
// that the misses of a large table overlap.
//
// Memory, in bytes from 0. The host knows the same addresses (src/traffic/meter/kernel-layout.ts).

// --- fixed regions ---
const COUNTS: usize = 4096; // u32[128]: by reason; from 64 on the same inside a tunnel
const TOTALS: usize = 5120; // f64[8]: packets, bytes, flows, fragments, evicted
const SAVED: usize = 6144; // one parsed packet for each nesting
const INSPECT: usize = 8192; // 16 bytes each: sequence number, kind | direction << 8, start, end
const INSPECT_CAPACITY: u32 = 1024;
const PARSED: usize = 24576;
const PARSED_SIZE: usize = 128;
const BATCH: u32 = 128;
const FRAGMENTS: usize = 40960; // 96 bytes each
const FRAGMENT_SIZE: usize = 96;
const FRAGMENT_COUNT: u32 = 256;
const LOGS: usize = 65536; // f64[2049]: c * log2(c), filled by the host
const HISTOGRAM: usize = 82944; // u32[256]
const DESCRIPTORS: usize = 86016; // 24 bytes each: time f64, start, captured, wire length, link type
const ROW_SEQUENCE: usize = 110592; // u32 a row: sequence number where the flow was inspected, else 0
const IDENTITY: usize = 114688; // 12 words a row
const NUMBERS: usize = 139264; // f64, a column of ROWS after the other
const ROWS: u32 = 504; // not 512: columns 4,096 bytes apart would share the sets of a cache
const STRIDE: usize = 4032;
const BYTES: usize = 458752;
const DYNAMIC: usize = 3145728;

// --- a parsed packet ---
const P_STATUS: usize = 0;
const P_KIND: usize = 4; // tunnel kind << 16 | version << 8 | protocol
const P_SOURCE: usize = 8; // four words
const P_DESTINATION: usize = 24;
const P_PORTS: usize = 40;
const P_TUNNEL: usize = 44;
const P_LENGTH: usize = 48;
const P_PAYLOAD: usize = 52;
const P_FLAGS: usize = 56;
const P_SEQUENCE: usize = 60;
const P_ACKNOWLEDGED: usize = 64;
const P_HASH: usize = 68;
const P_TIME: usize = 72;
const P_START: usize = 80; // payload, captured part
const P_END: usize = 84;
const P_FRAGMENT: usize = 88; // identification
const P_FIRST: usize = 92; // 1: first fragment
const P_LOW: usize = 96; // 1: the sender is the lower endpoint
const P_KEY_PORTS: usize = 100;
const P_WINDOW: usize = 104;
const P_SLOT: usize = 108; // where the flow probably is

const NOTHING: u32 = 0;
const FLOW: u32 = 1;
const LATER_FRAGMENT: u32 = 2;

// --- an open flow: 256 bytes that packets touch and 64 that its beginning and end do ---
const RECORD: usize = 320;
const R_HASH: usize = 0;
const R_LOW: usize = 4; // first word of the address
const R_HIGH: usize = 8;
const R_PORTS: usize = 12;
const R_KIND: usize = 16;
const R_STATE: usize = 20;
const R_MORE: usize = 24; // address of the rare measures, or 0
const R_MISC: usize = 28; // ICMP type, lengths kept, DNS messages and bits, payloads for entropy; a byte each
const R_LAST_CLOCK: usize = 32; // of an ended flow: the clock of its end
const R_START_CLOCK: usize = 40;
const R_PACKETS: usize = 48; // both directions
const R_WINDOWS: usize = 56; // u16, both directions
const R_NUMBER: usize = 60; // sequence number of the flow
const R_SIDE: usize = 64; // the forward direction; the backward one SIDE bytes further
const SIDE: usize = 104;
const R_BUCKETS: usize = 148; // five counts by length
const R_LENGTHS: usize = 256; // eight
const R_LOW_REST: usize = 288; // IPv6: three words
const R_HIGH_REST: usize = 300;
const R_TUNNEL: usize = 312;
const R_EXPECTED: usize = 316; // acknowledgement number that proves the handshake

// --- a direction ---
const S_BYTES: usize = 0;
const S_PAYLOAD: usize = 8;
const S_SQUARES: usize = 16;
const S_FIRST: usize = 24;
const S_LAST: usize = 32;
const S_MEAN: usize = 40; // of inter-arrival times, after Welford
const S_MOMENT: usize = 48;
const S_SHORTEST: usize = 56;
const S_LONGEST: usize = 64;
const S_NEXT: usize = 72; // next TCP sequence number
const S_LENGTH_MIN: usize = 76;
const S_LENGTH_MAX: usize = 80;

// --- the rare measures of a flow ---
const MORE: usize = 144;
const M_EARLIEST: usize = 0;
const M_LATEST: usize = 8;
const M_PERIOD: usize = 16; // start of the active period
const M_ACTIVE_SUM: usize = 24;
const M_ACTIVE_MIN: usize = 32;
const M_ACTIVE_MAX: usize = 40;
const M_IDLE_SUM: usize = 48;
const M_IDLE_MIN: usize = 56;
const M_IDLE_MAX: usize = 64;
const M_IDLE_COUNT: usize = 72;
const M_RESENT: usize = 76; // u32, both directions
const M_FILLED: usize = 84; // out of order: u32, both directions
const M_GAP: usize = 92; // start and end, both directions
const M_RESENT_BYTES: usize = 112; // f64, both directions
const M_ENTROPY: usize = 128;
const M_WEIGHT: usize = 136;

// --- bits of R_STATE: flags of both directions, TCP states of both sides, and these ---
const INITIATOR_IS_LOW: u32 = 1 << 24;
const HANDSHAKE_SEEN: u32 = 1 << 25;
const ACK_EXPECTED: u32 = 1 << 26;
const LIST_SHIFT: u32 = 27;
const LIST_MASK: u32 = 3 << 27;
const SEQUENCE_KNOWN: u32 = 1 << 29; // and bit 30 for the backward direction
const LAST_IS_BACKWARD: u32 = 1 << 31;
// --- bits of the third byte of R_MISC, above the count of DNS messages ---
const FIRST_IS_BACKWARD: u32 = 0x40;
const INSPECTED: u32 = 0x80;

const CLOSED: u32 = 0;
const ATTEMPT: u32 = 1;
const IDLE: u32 = 2;

const ENDED_TCP: u32 = 0;
const ENDED_IDLE: u32 = 1;
const ENDED_ACTIVE: u32 = 2;
const ENDED_EVICTED: u32 = 3;
const ENDED_SOURCE: u32 = 4;

const FIN: u32 = 1;
const SYN: u32 = 2;
const RST: u32 = 4;
const ACK: u32 = 16;

// --- sides of a TCP connection, as in src/traffic/connection-state.ts ---
const INACTIVE: u32 = 0;
const PARTIAL: u32 = 1;
const SYN_SENT: u32 = 2;
const SYN_ACK_SENT: u32 = 3;
const ESTABLISHED: u32 = 4;
const SIDE_CLOSED: u32 = 5;
const SIDE_RESET: u32 = 6;

const TUNNEL_IP: u32 = 1;
const TUNNEL_GRE: u32 = 2;
const TUNNEL_VXLAN: u32 = 3;
const TUNNEL_GENEVE: u32 = 4;

// --- why a packet is not metered; names in src/traffic/meter/packet-faults.ts, in this order ---
const TRUNCATED_ETHERNET: u32 = 0;
const TRUNCATED_COOKED: u32 = 1;
const TRUNCATED_HDLC: u32 = 2;
const TOO_MANY_TAGS: u32 = 3;
const TRUNCATED_TAG: u32 = 4;
const TRUNCATED_PPPOE: u32 = 5;
const TRUNCATED_LOOPBACK: u32 = 6;
const TRUNCATED_PPP: u32 = 7;
const EMPTY: u32 = 8;
const TRUNCATED_IPV4: u32 = 9;
const INVALID_VERSION: u32 = 10;
const INVALID_IPV4_HEADER: u32 = 11;
const INVALID_IPV4_TOTAL: u32 = 12;
const TRUNCATED_IPV4_PACKET: u32 = 13;
const TRUNCATED_IPV6: u32 = 14;
const TRUNCATED_IPV6_PACKET: u32 = 15;
const TOO_MANY_EXTENSIONS: u32 = 16;
const TRUNCATED_EXTENSION: u32 = 17;
const TRUNCATED_TCP: u32 = 18;
const INVALID_TCP: u32 = 19;
const TRUNCATED_UDP: u32 = 20;
const TRUNCATED_ICMP: u32 = 21;
const FRAGMENT_SHORT: u32 = 22;
const TRUNCATED_LABEL: u32 = 23;
const TOO_MANY_LABELS: u32 = 24;
const ARP: u32 = 25;
const RARP: u32 = 26;
const PPP_ETHERTYPE: u32 = 27;
const PPPOE_DISCOVERY: u32 = 28;
const EAPOL: u32 = 29;
const LLDP: u32 = 30;
const MACSEC: u32 = 31;
const PTP: u32 = 32;
const IEEE_802_3: u32 = 33;
const OTHER_ETHERTYPE: u32 = 34;
const OTHER_FAMILY: u32 = 35;
const OTHER_PPP: u32 = 36;
const MPLS: u32 = 37;
const PPTP: u32 = 38;
const OTHER_LINK: u32 = 39;
const INSIDE: u32 = 64;

// --- what ran into what, told to the host ---
const DONE: u32 = 0; // every complete record was metered
const FLOWS_READY: u32 = 1; // flows wait to be written
const INSPECT_FULL: u32 = 2; // messages wait to be inspected
const OVERSIZED: u32 = 3; // the capture is damaged here
const NO_MEMORY: u32 = 4; // the system gives no more

const MAX_CAPTURED: u32 = 262144;
const MAX_WIRE: u32 = (1 << 30) - 1;
const MAX_NESTING: u32 = 4;
const REORDER_TOLERANCE: f64 = 10000;
const MAX_STEP: f64 = 2592000000; // 30 days
const TICK: f64 = 1000;
const MAX_PENDING: u32 = 16384;
const FRAGMENT_AGE: f64 = 30000;
const MAX_ENTROPY_BYTES: u32 = 2048;

// --- options ---
let maxFlows: u32 = 0;
let quota: u32 = 0;
let lingerTimeout: f64 = 0;
let attemptTimeout: f64 = 0;
let idleTimeout: f64 = 0;
let activeTimeout: f64 = 0;
let idlePeriod: f64 = 0;
let splitAtEnd: u32 = 1;
let withEntropy: u32 = 0;
let k0: u32 = 0;
let k1: u32 = 0;
let k2: u32 = 0;
let k3: u32 = 0;
let k4: u32 = 0;
let k5: u32 = 0;
let mix: u64 = 0;

// --- dynamic regions ---
let index: usize = 0;
let indexMask: u32 = 0;
let indexLimit: u32 = 0;
let deadlines: usize = 0;
let pending: usize = 0; // 16 bytes each: end clock f64, sequence number, slot
let scratch: usize = 0;
let ready: usize = 0;
let more: usize = 0;
let records: usize = 0;
let memoryEnd: usize = 0;

// --- state ---
let slots: u32 = 0;
let freeSlot: u32 = 0;
let slotCapacity: u32 = 0;
let moreCount: u32 = 0;
let freeMore: usize = 0;
let open: u32 = 0;
let pendingCount: u32 = 0;
let readyFrom: u32 = 0;
let readyTo: u32 = 0;
let inspectCount: u32 = 0;
let nextNumber: u32 = 1;
let clock: f64 = 0;
let newest: f64 = NaN;
let lastTick: f64 = 0;
let earliest: f64 = Infinity;
let fragmentAt: u32 = 0;
let fragmentCount: u32 = 0;
let touched: u32 = 0;
let isPressed = false; // names are scarce: inspected flows are to be taken before the next packet
let mustWrite = false;

// --- the batch in hand ---
let batchCount: u32 = 0;
let batchAt: u32 = 0;
let packetTime: f64 = 0;
let isTicked = false;

// --- the capture in hand ---
let nextByte: usize = 0;
let swapped: u32 = 0;
let unitsPerMs: f64 = 1000;
let recordHeader: u32 = 16;
let fileLink: u32 = 1;

// --- the packet being parsed ---
let packetEnd: usize = 0; // of the captured bytes
let wireEnd: usize = 0;
let nesting: u32 = 0;
let tunnelKind: u32 = 0;
let tunnelId: u32 = 0;
let reason: u32 = 0;
let P: usize = 0;

// ---------------------------------------------------------------------------------------------- what the host calls

/** Lays out the memory for `flows` open flows, which may be used anew. Returns 0, or `NO_MEMORY`. */
export function setUp(flows: u32, evicted: u32): u32 {
  maxFlows = flows;
  quota = evicted;
  slotCapacity = flows + MAX_PENDING + 1024;
  let entries: u32 = 1024;
  while (entries < flows * 2) entries <<= 1;
  indexLimit = entries;
  index = DYNAMIC;
  deadlines = index + <usize>entries * 8;
  pending = deadlines + <usize>((slotCapacity + 15) & ~7) * 8;
  scratch = pending + <usize>slotCapacity * 16;
  ready = scratch + <usize>slotCapacity * 16;
  more = (ready + <usize>slotCapacity * 4 + 63) & ~63;
  records = (more + <usize>slotCapacity * MORE + 63) & ~63;
  memoryEnd = <usize>memory.size() << 16;
  if (!reserve(records + 65536)) return NO_MEMORY;
  indexMask = 1023;
  memory.fill(index, 0, 1024 * 8);
  return 0;
}

export function setTimeouts(linger: f64, attempt: f64, idle: f64, active: f64, period: f64): void {
  lingerTimeout = linger;
  attemptTimeout = attempt;
  idleTimeout = idle;
  activeTimeout = active;
  idlePeriod = period;
}

export function setOptions(split: u32, entropy: u32): void {
  splitAtEnd = split;
  withEntropy = entropy;
}

/** Random words; what is handed out does not depend on them. */
export function setHashKey(a: u32, b: u32, c: u32, d: u32, e: u32, f: u32, g: u32, h: u32): void {
  k0 = a;
  k1 = b;
  k2 = c;
  k3 = d;
  k4 = e;
  k5 = f;
  mix = ((<u64>g << 32) | <u64>h) | 1;
}

/** How the records of the capture look. */
export function setCapture(isSwapped: u32, units: f64, header: u32, link: u32): void {
  swapped = isSwapped;
  unitsPerMs = units;
  recordHeader = header;
  fileLink = link;
}

/** First byte that `meterCapture` has not read. */
export function unread(): usize {
  return nextByte;
}

/** Flows that ended and wait to be written. */
export function waiting(): u32 {
  return readyTo - readyFrom;
}

export function openFlows(): u32 {
  return open;
}

/** Messages that wait to be inspected; the list is empty afterwards. */
export function takeInspections(): u32 {
  const count = inspectCount;
  inspectCount = 0;
  return count;
}

/** Whether inspected flows are to be taken as soon as they are handed out, so that their names make room. */
export function setPressed(pressed: u32): void {
  isPressed = pressed != 0;
}

/** Meters the complete packet records of a classic capture in [from, end); to be called again after what it says. */
export function meterCapture(from: usize, end: usize): u32 {
  nextByte = from;
  while (true) {
    if (batchAt < batchCount) {
      const stop = update();
      if (stop != DONE) return stop;
    }
    const damaged = frame(end);
    if (batchCount == 0) return damaged;
    locate();
  }
}

/** Meters the packets of `count` descriptors, at most `BATCH`. 0 goes on after an interruption. */
export function meterDescribed(count: u32): u32 {
  if (count > 0) {
    batchCount = 0;
    batchAt = 0;
    let d = DESCRIPTORS;
    for (let i: u32 = 0; i < count; i++) {
      const start = <usize>load<u32>(d, 8);
      parse(start, start + load<u32>(d, 12), load<u32>(d, 16), load<u32>(d, 20), load<f64>(d));
      d += 24;
    }
    locate();
  }
  return batchAt < batchCount ? update() : DONE;
}

/** Moves traffic time without a packet. */
export function advance(time: f64): u32 {
  moveClock(time);
  tick();
  return readyTo == readyFrom ? DONE : FLOWS_READY;
}

/** Ends every flow; they wait to be written. Goes on with the same clock. */
export function finish(): void {
  expire(clock);
  handOut();
  for (let slot: u32 = 0; slot < slots; slot++) {
    if (!isOpen(slot)) continue;
    const r = records + <usize>slot * RECORD;
    const list = (load<u32>(r, R_STATE) & LIST_MASK) >> LIST_SHIFT;
    end(slot, r, list == CLOSED ? ENDED_TCP : ENDED_SOURCE, load<f64>(r, R_LAST_CLOCK));
  }
  handOut();
  fragmentCount = 0;
  fragmentAt = 0;
}

/** Writes waiting flows into the rows of the batch; returns how many. */
export function writeRows(): u32 {
  let row: u32 = 0;
  while (row < ROWS && readyFrom < readyTo) {
    const slot = load<u32>(ready + (<usize>readyFrom << 2));
    readyFrom++;
    const r = records + <usize>slot * RECORD;
    writeRow(row, r);
    const m = <usize>load<u32>(r, R_MORE);
    if (m != 0) {
      store<u32>(m, <u32>freeMore);
      freeMore = m;
    }
    store<u32>(r, freeSlot);
    freeSlot = slot + 1;
    row++;
  }
  if (readyFrom == readyTo) {
    readyFrom = 0;
    readyTo = 0;
    mustWrite = false;
  }
  return row;
}

// ------------------------------------------------------------------------------------------------------- the batch

// @ts-ignore: decorator
@inline
function word(at: usize): u32 {
  const value = load<u32>(at);
  return swapped ? bswap(value) : value;
}

/** Parses as many complete records as a batch holds. */
function frame(end: usize): u32 {
  batchCount = 0;
  batchAt = 0;
  let at = nextByte;
  const header = <usize>recordHeader;
  let result: u32 = DONE;
  while (batchCount < BATCH && at + header <= end) {
    const captured = word(at + 8);
    if (captured > MAX_CAPTURED) {
      result = OVERSIZED;
      break;
    }
    const start = at + header;
    if (start + captured > end) break;
    const time = <f64>word(at) * 1000 + <f64>word(at + 4) / unitsPerMs;
    parse(start, start + captured, word(at + 12), fileLink, time);
    at = start + captured;
  }
  nextByte = at;
  return result;
}

/** Parses one packet into the next place of the batch. */
function parse(start: usize, end: usize, wireLength: u32, link: u32, time: f64): void {
  P = PARSED + <usize>batchCount * PARSED_SIZE;
  batchCount++;
  const captured = <u32>(end - start);
  store<f64>(TOTALS, load<f64>(TOTALS) + 1);
  store<f64>(TOTALS, load<f64>(TOTALS, 8) + <f64>(wireLength > captured ? wireLength : captured), 8);
  const cut = wireLength > MAX_WIRE ? MAX_WIRE : wireLength;
  packetEnd = end;
  wireEnd = start + (cut > captured ? cut : captured);
  nesting = 0;
  tunnelKind = 0;
  tunnelId = 0;
  store<f64>(P, time, P_TIME);
  store<u32>(P, NOTHING, P_STATUS);
  const status = link == 1 ? ethernet(start) : parseLink(start, link);
  if (status == NOTHING) count(reason);
  else if (status == FLOW) makeKey();
  store<u32>(P, status, P_STATUS);
}

/** Reads what the updates will need: places in the index, then records. */
function locate(): void {
  let p = PARSED;
  const last = PARSED + <usize>batchCount * PARSED_SIZE;
  while (p < last) {
    let found: u32 = 0;
    if (load<u32>(p, P_STATUS) == FLOW) {
      const hash = load<u32>(p, P_HASH);
      let bucket = hash & indexMask;
      while (true) {
        const entry = index + (<usize>bucket << 3);
        found = load<u32>(entry, 4);
        if (found == 0 || load<u32>(entry) == hash) break;
        bucket = (bucket + 1) & indexMask;
      }
    }
    store<u32>(p, found, P_SLOT);
    p += PARSED_SIZE;
  }
  p = PARSED;
  let sum: u32 = 0;
  while (p < last) {
    const found = load<u32>(p, P_SLOT);
    if (found != 0) {
      const r = records + <usize>(found - 1) * RECORD;
      sum += load<u32>(r) + load<u32>(r, 64) + load<u32>(r, 128) + load<u32>(r, 192);
    }
    p += PARSED_SIZE;
  }
  touched = sum;
}

/** Meters the parsed packets in order, until flows or messages have to be taken. */
function update(): u32 {
  while (batchAt < batchCount) {
    if (readyTo - readyFrom >= ROWS) return FLOWS_READY;
    if (inspectCount == INSPECT_CAPACITY) return INSPECT_FULL;
    if (!reserve(records + <usize>(slots + 4) * RECORD)) return NO_MEMORY;
    const p = PARSED + <usize>batchAt * PARSED_SIZE;
    if (!isTicked) {
      packetTime = moveClock(load<f64>(p, P_TIME));
      tick();
      if (mustWrite) {
        isTicked = true;
        return FLOWS_READY;
      }
    }
    isTicked = false;
    batchAt++;
    const time = packetTime;
    const status = load<u32>(p, P_STATUS);
    if (status == FLOW) meter(p, time);
    else if (status == LATER_FRAGMENT) meterFragment(p, time);
  }
  return DONE;
}

/** Whether memory reaches to `address`; grows it by 8 MiB more than is needed: address space until it is touched. */
function reserve(address: usize): bool {
  if (address <= memoryEnd) return true;
  const pages = <i32>((address - memoryEnd + 65535) >> 16);
  if (memory.grow(pages + 127) < 0 && memory.grow(pages) < 0) return false;
  memoryEnd = <usize>memory.size() << 16;
  return true;
}

// @ts-ignore: decorator
@inline
function count(code: u32): void {
  const at = COUNTS + (<usize>code << 2);
  store<u32>(at, load<u32>(at) + 1);
}

// -------------------------------------------------------------------------------------------------------- packets

// @ts-ignore: decorator
@inline
function u16at(at: usize): u32 {
  return (<u32>load<u8>(at) << 8) | <u32>load<u8>(at, 1);
}

// @ts-ignore: decorator
@inline
function u32at(at: usize): u32 {
  return bswap(load<u32>(at));
}

// @ts-ignore: decorator
@inline
function fail(code: u32): u32 {
  reason = code;
  return NOTHING;
}

function parseLink(start: usize, link: u32): u32 {
  switch (link) {
    case 1:
      return ethernet(start);
    case 113:
      if (start + 16 > packetEnd) return fail(TRUNCATED_COOKED);
      return etherPayload(u16at(start + 14), start + 16);
    case 276:
      if (start + 20 > packetEnd) return fail(TRUNCATED_COOKED);
      return etherPayload(u16at(start), start + 20);
    case 12:
    case 14:
    case 101:
      if (start >= packetEnd) return fail(EMPTY);
      return load<u8>(start) >>> 4 == 6 ? ipv6(start) : ipv4(start);
    case 228:
      return ipv4(start);
    case 229:
      return ipv6(start);
    case 0:
    case 108:
      return loopback(start);
    case 9:
      return ppp(start);
    case 50:
      if (start + 4 > packetEnd) return fail(TRUNCATED_HDLC);
      if ((load<u8>(start) & 0x7f) == 0x0f) return etherPayload(u16at(start + 2), start + 4);
      return ppp(start);
    case 104:
      if (start + 4 > packetEnd) return fail(TRUNCATED_HDLC);
      return etherPayload(u16at(start + 2), start + 4);
    default:
      return fail(OTHER_LINK);
  }
}

function ethernet(start: usize): u32 {
  if (start + 14 > packetEnd) return fail(TRUNCATED_ETHERNET);
  const type = u16at(start + 12);
  return type == 0x0800 ? ipv4(start + 14) : etherPayload(type, start + 14);
}

/** What follows an EtherType; VLAN tags (802.1Q, 802.1ad and older) are skipped. */
function etherPayload(firstType: u32, start: usize): u32 {
  let type = firstType;
  let at = start;
  let tags = 0;
  while (type == 0x8100 || type == 0x88a8 || type == 0x9100 || type == 0x9200) {
    if (tags == 4) return fail(TOO_MANY_TAGS);
    if (at + 4 > packetEnd) return fail(TRUNCATED_TAG);
    type = u16at(at + 2);
    at += 4;
    tags++;
  }
  switch (type) {
    case 0x0800:
      return ipv4(at);
    case 0x86dd:
      return ipv6(at);
    case 0x8864:
      if (at + 8 > packetEnd) return fail(TRUNCATED_PPPOE);
      return ppp(at + 6);
    case 0x8847:
    case 0x8848:
      return mpls(at);
    case 0x0806:
      return fail(ARP);
    case 0x8035:
      return fail(RARP);
    case 0x880b:
      return fail(PPP_ETHERTYPE);
    case 0x8863:
      return fail(PPPOE_DISCOVERY);
    case 0x888e:
      return fail(EAPOL);
    case 0x88cc:
      return fail(LLDP);
    case 0x88e5:
      return fail(MACSEC);
    case 0x88f7:
      return fail(PTP);
    default:
      // Up to 1500 the field is a length (IEEE 802.3) and an LLC header follows: no IP in practice.
      return fail(type <= 1500 ? IEEE_802_3 : OTHER_ETHERTYPE);
  }
}

/** A stack of labels (RFC 3032); below it IP, told by its version, or Ethernet after a zero control word (RFC 4448). */
function mpls(start: usize): u32 {
  let at = start;
  let labels = 0;
  let isBottom = false;
  while (!isBottom) {
    if (labels == 8) return fail(TOO_MANY_LABELS);
    if (at + 4 > packetEnd) return fail(TRUNCATED_LABEL);
    isBottom = (load<u8>(at, 2) & 1) != 0;
    at += 4;
    labels++;
  }
  if (at >= packetEnd) return fail(TRUNCATED_LABEL);
  const version = load<u8>(at) >>> 4;
  if (version == 4) return ipv4(at);
  if (version == 6) return ipv6(at);
  if (at + 4 > packetEnd || load<u32>(at) != 0 || nesting == MAX_NESTING) return fail(MPLS);
  nesting++;
  return ethernet(at + 4);
}

/** BSD loopback: the address family in the byte order of the machine that captured. */
function loopback(start: usize): u32 {
  if (start + 4 > packetEnd) return fail(TRUNCATED_LOOPBACK);
  const little = load<u32>(start);
  const big = bswap(little);
  const family = big < little ? big : little;
  if (family == 2) return ipv4(start + 4);
  // AF_INET6 is 10 on Linux, 23 on Windows, 24 on NetBSD, 28 on FreeBSD, 30 on macOS.
  if (family == 10 || family == 23 || family == 24 || family == 28 || family == 30) return ipv6(start + 4);
  return fail(OTHER_FAMILY);
}

/** PPP (RFC 1661), with or without address and control bytes, with or without a compressed protocol field. */
function ppp(start: usize): u32 {
  let at = start;
  if (at + 2 <= packetEnd && load<u16>(at) == 0x03ff) at += 2;
  if (at + 2 > packetEnd) return fail(TRUNCATED_PPP);
  let protocol = <u32>load<u8>(at);
  at++;
  if ((protocol & 1) == 0) {
    protocol = (protocol << 8) | <u32>load<u8>(at);
    at++;
  }
  if (protocol == 0x21) return ipv4(at);
  if (protocol == 0x57) return ipv6(at);
  if (protocol == 0x281 || protocol == 0x283) return mpls(at);
  return fail(OTHER_PPP);
}

/** RFC 791. */
function ipv4(start: usize): u32 {
  if (start + 20 > packetEnd) return fail(TRUNCATED_IPV4);
  const first = <u32>load<u8>(start);
  if (first >>> 4 != 4) return fail(INVALID_VERSION);
  const headerLength = <usize>((first & 15) << 2);
  if (headerLength < 20) return fail(INVALID_IPV4_HEADER);
  if (start + headerLength > packetEnd) return fail(TRUNCATED_IPV4);
  let total = <usize>u16at(start + 2);
  // Zero where the network card cuts the segments (TSO): the wire length is all there is.
  if (total == 0) total = wireEnd - start;
  if (total < headerLength) return fail(INVALID_IPV4_TOTAL);
  const ipEnd = start + total;
  if (ipEnd > wireEnd) return fail(TRUNCATED_IPV4_PACKET);
  const fragment = u16at(start + 6);
  const protocol = <u32>load<u8>(start, 9);
  store<u32>(P, (tunnelKind << 16) | (4 << 8) | protocol, P_KIND);
  store<u32>(P, u32at(start + 12), P_SOURCE);
  store<u32>(P, u32at(start + 16), P_DESTINATION);
  store<u32>(P, tunnelId, P_TUNNEL);
  store<u32>(P, <u32>total, P_LENGTH);
  if ((fragment & 0x3fff) == 0) {
    store<u32>(P, 0, P_FIRST);
    return transport(protocol, start + headerLength, ipEnd, 1);
  }
  store<u32>(P, u16at(start + 4), P_FRAGMENT);
  if ((fragment & 0x1fff) != 0) {
    store<u32>(P, <u32>(total - headerLength), P_PAYLOAD);
    return LATER_FRAGMENT;
  }
  store<u32>(P, 1, P_FIRST);
  return transport(protocol, start + headerLength, ipEnd, 1);
}

// @ts-ignore: decorator
@inline
function copyWord(from: usize, to: usize): void {
  store<u32>(to, bswap(load<u32>(from)));
}

/** RFC 8200, section 4: the fixed header and the chain of extension headers. */
function ipv6(start: usize): u32 {
  if (start + 40 > packetEnd) return fail(TRUNCATED_IPV6);
  if (load<u8>(start) >>> 4 != 6) return fail(INVALID_VERSION);
  const payloadLength = <usize>u16at(start + 4);
  // Zero for a jumbogram and where the network card cuts the segments.
  const ipEnd = payloadLength == 0 ? wireEnd : start + 40 + payloadLength;
  if (ipEnd > wireEnd) return fail(TRUNCATED_IPV6_PACKET);
  let next = <u32>load<u8>(start, 6);
  let at = start + 40;
  let headers: u32 = 0;
  let isFirst: u32 = 0;
  let isLater = false;
  // Hop-by-hop, routing, fragment, AH, destination options, mobility, HIP, shim6. ESP (50) hides what follows.
  while (next == 0 || next == 43 || next == 44 || next == 51 || next == 60 || next == 135 || next == 139 || next == 140) {
    if (headers == 16) return fail(TOO_MANY_EXTENSIONS);
    if (at + 8 > packetEnd || at + 8 > ipEnd) return fail(TRUNCATED_EXTENSION);
    let length: usize = 8;
    if (next == 44) {
      const fragment = u16at(at + 2);
      if (fragment > 7 || (fragment & 1) != 0) store<u32>(P, u32at(at + 4), P_FRAGMENT);
      if (fragment > 7) {
        isLater = true;
        at += 8;
        break;
      }
      if ((fragment & 1) != 0) isFirst = 1;
    } else if (next == 51) {
      length = (<usize>load<u8>(at, 1) + 2) << 2;
    } else {
      length = (<usize>load<u8>(at, 1) + 1) << 3;
    }
    next = <u32>load<u8>(at);
    at += length;
    headers++;
  }
  if (at > ipEnd) return fail(TRUNCATED_EXTENSION);
  copyWord(start + 8, P + P_SOURCE);
  copyWord(start + 12, P + P_SOURCE + 4);
  copyWord(start + 16, P + P_SOURCE + 8);
  copyWord(start + 20, P + P_SOURCE + 12);
  copyWord(start + 24, P + P_DESTINATION);
  copyWord(start + 28, P + P_DESTINATION + 4);
  copyWord(start + 32, P + P_DESTINATION + 8);
  copyWord(start + 36, P + P_DESTINATION + 12);
  store<u32>(P, tunnelId, P_TUNNEL);
  store<u32>(P, <u32>(ipEnd - start), P_LENGTH);
  store<u32>(P, isFirst, P_FIRST);
  if (isLater) {
    store<u32>(P, (tunnelKind << 16) | (6 << 8) | 44, P_KIND);
    store<u32>(P, <u32>(ipEnd - at), P_PAYLOAD);
    return LATER_FRAGMENT;
  }
  store<u32>(P, (tunnelKind << 16) | (6 << 8) | next, P_KIND);
  return transport(next, at, ipEnd, 58);
}

/** The transport header at `at` of an IP packet that ends at `ipEnd`, which may lie behind the captured bytes. */
function transport(protocol: u32, at: usize, ipEnd: usize, icmp: u32): u32 {
  const captured = packetEnd < ipEnd ? packetEnd : ipEnd;
  const isFirst = load<u32>(P, P_FIRST) != 0;
  let payload = at;
  store<u32>(P, 0, P_FLAGS);
  if (protocol == 6) {
    if (isFirst && at + 20 > ipEnd) return fail(FRAGMENT_SHORT);
    // Ports, sequence numbers and flags; the rest of the header may have been cut by the snap length.
    if (at + 14 > captured || at + 20 > ipEnd) return fail(TRUNCATED_TCP);
    const headerLength = <usize>(load<u8>(at, 12) >>> 4) << 2;
    if (isFirst && headerLength >= 20 && at + headerLength > ipEnd) return fail(FRAGMENT_SHORT);
    if (headerLength < 20 || at + headerLength > ipEnd) return fail(INVALID_TCP);
    store<u32>(P, u32at(at), P_PORTS);
    store<u32>(P, u32at(at + 4), P_SEQUENCE);
    store<u32>(P, u32at(at + 8), P_ACKNOWLEDGED);
    store<u32>(P, <u32>load<u8>(at, 13), P_FLAGS);
    store<u32>(P, at + 16 <= captured ? u16at(at + 14) : 0, P_WINDOW);
    payload = at + headerLength;
  } else if (protocol == 17) {
    if (isFirst && at + 8 > ipEnd) return fail(FRAGMENT_SHORT);
    if (at + 4 > captured || at + 8 > ipEnd) return fail(TRUNCATED_UDP);
    const ports = u32at(at);
    store<u32>(P, ports, P_PORTS);
    payload = at + 8;
    const to = ports & 0xffff;
    if ((to == 4789 || to == 6081) && !isFirst) {
      setPayload(payload, captured, ipEnd);
      return to == 4789 ? vxlan(payload, captured) : geneve(payload, captured);
    }
  } else if (protocol == icmp) {
    if (isFirst && at + 2 > ipEnd) return fail(FRAGMENT_SHORT);
    if (at + 2 > captured) return fail(TRUNCATED_ICMP);
    store<u32>(P, (<u32>load<u8>(at) << 16) | <u32>load<u8>(at, 1), P_PORTS);
    payload = at + 8;
  } else {
    store<u32>(P, 0, P_PORTS);
    setPayload(payload, captured, ipEnd);
    if (!isFirst) {
      if (protocol == 47) return gre(at, captured);
      if (protocol == 4) return openTunnel(TUNNEL_IP, 0, at, captured, ipEnd, 0x0800);
      if (protocol == 41) return openTunnel(TUNNEL_IP, 0, at, captured, ipEnd, 0x86dd);
    }
    return FLOW;
  }
  setPayload(payload, captured, ipEnd);
  return FLOW;
}

function setPayload(start: usize, captured: usize, ipEnd: usize): void {
  store<u32>(P, ipEnd > start ? <u32>(ipEnd - start) : 0, P_PAYLOAD);
  store<u32>(P, <u32>start, P_START);
  store<u32>(P, <u32>(captured > start ? captured : start), P_END);
}

/** RFC 7348. */
function vxlan(at: usize, captured: usize): u32 {
  if (at + 8 > captured || (load<u8>(at) & 8) == 0) return FLOW;
  return openTunnel(TUNNEL_VXLAN, u32at(at + 4) >>> 8, at + 8, captured, at + load<u32>(P, P_PAYLOAD), 0x6558);
}

/** RFC 8926, version 0; control packets are left alone. */
function geneve(at: usize, captured: usize): u32 {
  if (at + 8 > captured) return FLOW;
  const first = <u32>load<u8>(at);
  const inner = at + 8 + (<usize>(first & 63) << 2);
  if (first >>> 6 != 0 || (load<u8>(at, 1) & 0x80) != 0 || inner > captured) return FLOW;
  const id = u32at(at + 4) >>> 8;
  return openTunnel(TUNNEL_GENEVE, id, inner, captured, at + load<u32>(P, P_PAYLOAD), u16at(at + 2));
}

/** RFC 2784 and 2890; version 1 carries PPTP (RFC 2637). */
function gre(at: usize, captured: usize): u32 {
  if (at + 4 > captured) return FLOW;
  const flags = u16at(at);
  if ((flags & 7) == 1) {
    count(PPTP + INSIDE);
    return FLOW;
  }
  if ((flags & 7) != 0 || (flags & 0x4000) != 0) return FLOW;
  const keyAt = at + ((flags & 0x8000) != 0 ? 8 : 4);
  const inner = keyAt + ((flags & 0x2000) != 0 ? 4 : 0) + ((flags & 0x1000) != 0 ? 4 : 0);
  if (inner > captured) return FLOW;
  const id = (flags & 0x2000) != 0 ? u32at(keyAt) : 0;
  return openTunnel(TUNNEL_GRE, id, inner, captured, at + load<u32>(P, P_PAYLOAD), u16at(at + 2));
}

/** Parses what a tunnel carries; where that cannot be, the packet is one of the flow that carries it. */
function openTunnel(kind: u32, id: u32, at: usize, captured: usize, ipEnd: usize, type: u32): u32 {
  if (nesting == MAX_NESTING) return FLOW;
  const saved = SAVED + <usize>nesting * PARSED_SIZE;
  memory.copy(saved, P, PARSED_SIZE);
  const outerEnd = packetEnd;
  const outerWire = wireEnd;
  const outerKind = tunnelKind;
  const outerId = tunnelId;
  const outerNesting = nesting;
  packetEnd = captured;
  wireEnd = ipEnd;
  tunnelKind = kind;
  tunnelId = id;
  nesting = outerNesting + 1;
  let status: u32;
  if (type == 0x6558) status = ethernet(at);
  else status = etherPayload(type, at);
  packetEnd = outerEnd;
  wireEnd = outerWire;
  tunnelKind = outerKind;
  tunnelId = outerId;
  nesting = outerNesting;
  if (status != NOTHING) return status;
  count(reason + INSIDE);
  memory.copy(P, saved, PARSED_SIZE);
  return FLOW;
}

// ------------------------------------------------------------------------------------------------- keys and hashes

/** The request that an ICMP reply answers, so that both have one key; other types are their own. */
function requestType(version: u32, type: u32): u32 {
  if (version == 6) return type == 129 || type == 134 || type == 136 || type == 140 ? type - 1 : type;
  if (type == 0) return 8;
  if (type == 9) return 10;
  return type == 14 || type == 16 || type == 18 ? type - 1 : type;
}

// @ts-ignore: decorator
@inline
function compareWords(a: u32, b: u32): i32 {
  return a == b ? 0 : a < b ? -1 : 1;
}

// @ts-ignore: decorator
@inline
function pair(a: u32, b: u32): u64 {
  return <u64>a * <u64>b;
}

/**
 * Puts the lower endpoint first and hashes the key: the universal family NH (Black et al., UMAC, 1999) under a random
 * key, then multiply-shift, so that no sender can aim at one place of the index.
 */
function makeKey(): void {
  const kind = load<u32>(P, P_KIND);
  const version = (kind >>> 8) & 255;
  const protocol = kind & 255;
  const ports = load<u32>(P, P_PORTS);
  const isIcmp = protocol == (version == 4 ? 1 : 58);
  const source = load<u32>(P, P_SOURCE);
  const destination = load<u32>(P, P_DESTINATION);
  let order = compareWords(source, destination);
  if (version == 6) {
    if (order == 0) order = compareWords(load<u32>(P, P_SOURCE + 4), load<u32>(P, P_DESTINATION + 4));
    if (order == 0) order = compareWords(load<u32>(P, P_SOURCE + 8), load<u32>(P, P_DESTINATION + 8));
    if (order == 0) order = compareWords(load<u32>(P, P_SOURCE + 12), load<u32>(P, P_DESTINATION + 12));
  }
  if (order == 0 && !isIcmp) order = compareWords(ports >>> 16, ports & 0xffff);
  const isLow = order <= 0;
  let keyPorts: u32;
  if (isIcmp) keyPorts = (requestType(version, ports >>> 16) << 16) | (ports & 0xffff);
  else keyPorts = isLow ? ports : rotl<u32>(ports, 16);
  const low = isLow ? source : destination;
  const high = isLow ? destination : source;
  let sum = pair(low + k0, high + k1) + pair(keyPorts + k2, kind + k3);
  if (version == 6) {
    const a = P + (isLow ? P_SOURCE : P_DESTINATION);
    const b = P + (isLow ? P_DESTINATION : P_SOURCE);
    // The words of both addresses in turn: each pair takes keys of its own, derived from the six.
    sum += pair(load<u32>(a, 4) + (k4 ^ k0), load<u32>(b, 4) + (k5 ^ k1));
    sum += pair(load<u32>(a, 8) + (k4 ^ k2), load<u32>(b, 8) + (k5 ^ k3));
    sum += pair(load<u32>(a, 12) + (k4 ^ rotl<u32>(k0, 7)), load<u32>(b, 12) + (k5 ^ rotl<u32>(k1, 7)));
  }
  if (kind >>> 16 != 0) sum += pair(load<u32>(P, P_TUNNEL) + k4, k5);
  store<u32>(P, <u32>((sum * mix) >>> 32), P_HASH);
  store<u32>(P, keyPorts, P_KEY_PORTS);
  store<u32>(P, isLow ? 1 : 0, P_LOW);
}

/** Whether the record is of the packet's flow; their hashes are equal. */
function isSame(p: usize, r: usize): bool {
  const kind = load<u32>(p, P_KIND);
  if (load<u32>(r, R_KIND) != kind || load<u32>(r, R_PORTS) != load<u32>(p, P_KEY_PORTS)) return false;
  const isLow = load<u32>(p, P_LOW) != 0;
  const low = p + (isLow ? P_SOURCE : P_DESTINATION);
  const high = p + (isLow ? P_DESTINATION : P_SOURCE);
  if (load<u32>(r, R_LOW) != load<u32>(low) || load<u32>(r, R_HIGH) != load<u32>(high)) return false;
  if (kind >>> 16 != 0 && load<u32>(r, R_TUNNEL) != load<u32>(p, P_TUNNEL)) return false;
  if (((kind >>> 8) & 255) == 4) return true;
  return (
    load<u32>(r, R_LOW_REST) == load<u32>(low, 4) &&
    load<u32>(r, R_LOW_REST + 4) == load<u32>(low, 8) &&
    load<u32>(r, R_LOW_REST + 8) == load<u32>(low, 12) &&
    load<u32>(r, R_HIGH_REST) == load<u32>(high, 4) &&
    load<u32>(r, R_HIGH_REST + 4) == load<u32>(high, 8) &&
    load<u32>(r, R_HIGH_REST + 8) == load<u32>(high, 12)
  );
}

/** The slot of the packet's flow plus one, or 0. */
function find(p: usize): u32 {
  const hash = load<u32>(p, P_HASH);
  let bucket = hash & indexMask;
  while (true) {
    const entry = index + (<usize>bucket << 3);
    const found = load<u32>(entry, 4);
    if (found == 0) return 0;
    if (load<u32>(entry) == hash && isSame(p, records + <usize>(found - 1) * RECORD)) return found;
    bucket = (bucket + 1) & indexMask;
  }
}

function place(hash: u32, slot: u32): void {
  let bucket = hash & indexMask;
  let entry = index + (<usize>bucket << 3);
  while (load<u32>(entry, 4) != 0) {
    bucket = (bucket + 1) & indexMask;
    entry = index + (<usize>bucket << 3);
  }
  store<u32>(entry, hash);
  store<u32>(entry, slot + 1, 4);
}

/** Takes a slot out of the index; what its place pushed away moves back. */
function displace(hash: u32, slot: u32): void {
  let hole = hash & indexMask;
  while (load<u32>(index + (<usize>hole << 3), 4) != slot + 1) hole = (hole + 1) & indexMask;
  let bucket = hole;
  while (true) {
    bucket = (bucket + 1) & indexMask;
    const entry = index + (<usize>bucket << 3);
    const moved = load<u32>(entry, 4);
    if (moved == 0) break;
    const home = load<u32>(entry) & indexMask;
    if (((bucket - home) & indexMask) >= ((bucket - hole) & indexMask)) {
      store<u64>(index + (<usize>hole << 3), load<u64>(entry));
      hole = bucket;
    }
  }
  store<u64>(index + (<usize>hole << 3), 0);
}

function growIndex(): void {
  const entries = (indexMask + 1) << 1;
  indexMask = entries - 1;
  memory.fill(index, 0, <usize>entries << 3);
  for (let slot: u32 = 0; slot < slots; slot++) {
    if (isOpen(slot)) {
      place(load<u32>(records + <usize>slot * RECORD), slot);
    }
  }
}

// --------------------------------------------------------------------------------------------------- traffic time

/** Moves traffic time; returns the packet's time, or the newest one where it has none. */
function moveClock(time: f64): f64 {
  const isTime = time <= 1e18 && time >= -1e18;
  if (newest != newest) {
    newest = isTime ? time : 0;
    return newest;
  }
  if (!isTime) return newest;
  const step = time - newest;
  if (step > 0) clock += step < MAX_STEP ? step : MAX_STEP;
  if (step > 0 || step < -REORDER_TOLERANCE) newest = time;
  return time;
}

/** Once a second of traffic time, or when many have ended, flows that expired and that ended are handed out. */
function tick(): void {
  if (clock >= lastTick + TICK) {
    lastTick = Math.floor(clock / TICK) * TICK;
    expire(lastTick);
    handOut();
  } else if (pendingCount >= MAX_PENDING) {
    expire(clock);
    handOut();
  }
}

// @ts-ignore: decorator
@inline
function timeoutOf(list: u32): f64 {
  return list == IDLE ? idleTimeout : list == ATTEMPT ? attemptTimeout : lingerTimeout;
}

/** Whether a slot holds an open flow: free ones and ended ones have no deadline (NaN), timeouts may be infinite. */
// @ts-ignore: decorator
@inline
function isOpen(slot: u32): bool {
  const deadline = load<f64>(deadlines + (<usize>slot << 3));
  return deadline == deadline;
}

/**
 * Ends every flow whose deadline is not after `until`. The array holds for each open flow a time before which it does
 * not expire, moved on only when it is met here, so that packets need not write it.
 */
function expire(until: f64): void {
  if (earliest > until) return;
  const limit = f64x2.splat(until);
  let least: f64 = Infinity;
  let leasts = f64x2.splat(Infinity);
  for (let from: u32 = 0; from < slots; from += 2) {
    const at = deadlines + (<usize>from << 3);
    const two = v128.load(at);
    if (!v128.any_true(f64x2.le(two, limit))) {
      leasts = f64x2.pmin(leasts, two);
      continue;
    }
    for (let slot = from; slot < from + 2; slot++) {
      let deadline = load<f64>(deadlines + (<usize>slot << 3));
      if (deadline <= until) {
        const r = records + <usize>slot * RECORD;
        const list = (load<u32>(r, R_STATE) & LIST_MASK) >> LIST_SHIFT;
        deadline = load<f64>(r, R_LAST_CLOCK) + timeoutOf(list);
        if (deadline <= until) {
          end(slot, r, list == CLOSED ? ENDED_TCP : ENDED_IDLE, deadline);
          continue;
        }
        store<f64>(deadlines + (<usize>slot << 3), deadline);
      }
      if (deadline < least) least = deadline;
    }
  }
  const a = f64x2.extract_lane(leasts, 0);
  const b = f64x2.extract_lane(leasts, 1);
  if (a < least) least = a;
  if (b < least) least = b;
  earliest = least;
}

/** Takes a flow out of the table; it waits for its hand-out in its slot. */
function end(slot: u32, r: usize, why: u32, at: f64): void {
  displace(load<u32>(r), slot);
  store<f64>(deadlines + (<usize>slot << 3), NaN);
  store<f64>(r, at, R_LAST_CLOCK);
  // The hash is not needed any more; its place holds the reason.
  store<u32>(r, why);
  const entry = pending + (<usize>pendingCount << 4);
  store<f64>(entry, at);
  store<u32>(entry, load<u32>(r, R_NUMBER), 8);
  store<u32>(entry, slot, 12);
  pendingCount++;
  open--;
  store<f64>(TOTALS, load<f64>(TOTALS, 16) + 1, 16);
}

// @ts-ignore: decorator
@inline
function isBefore(a: usize, b: usize): bool {
  const x = load<f64>(a);
  const y = load<f64>(b);
  return x < y || (x == y && <i32>(load<u32>(a, 8) - load<u32>(b, 8)) < 0);
}

/** Sorts what has ended by (clock of its end, sequence number) and lines it up to be written. */
function handOut(): void {
  if (pendingCount == 0) return;
  const sorted = sortPending();
  let to = ready + (<usize>readyTo << 2);
  for (let i: u32 = 0; i < pendingCount; i++) {
    const slot = load<u32>(sorted + (<usize>i << 4), 12);
    store<u32>(to, slot);
    to += 4;
    if (isPressed && (<u32>load<u8>(records + <usize>slot * RECORD, R_MISC + 2) & INSPECTED) != 0) mustWrite = true;
  }
  readyTo += pendingCount;
  pendingCount = 0;
}

/** Merges natural runs until one is left; returns where it lies. */
function sortPending(): usize {
  let from = pending;
  let to = scratch;
  const bytes = <usize>pendingCount << 4;
  while (true) {
    let runs = 0;
    let at: usize = 0;
    while (at < bytes) {
      let middle = at + 16;
      while (middle < bytes && !isBefore(from + middle, from + middle - 16)) middle += 16;
      let last = middle;
      if (last < bytes) {
        last += 16;
        while (last < bytes && !isBefore(from + last, from + last - 16)) last += 16;
      }
      merge(from + at, from + middle, from + last, to + at);
      at = last;
      runs++;
    }
    const swap = from;
    from = to;
    to = swap;
    if (runs <= 1) return from;
  }
}

function merge(start: usize, middle: usize, last: usize, to: usize): void {
  let a = start;
  let b = middle;
  let out = to;
  while (a < middle && b < last) {
    if (isBefore(b, a)) {
      v128.store(out, v128.load(b));
      b += 16;
    } else {
      v128.store(out, v128.load(a));
      a += 16;
    }
    out += 16;
  }
  if (a < middle) memory.copy(out, a, middle - a);
  else if (b < last) memory.copy(out, b, last - b);
}

/** Makes room: what has expired, then attempts that nobody answered, then whatever was silent longest. */
function evict(): void {
  const before = open;
  expire(clock);
  const expired = before - open;
  if (expired >= quota) return;
  const wanted = quota - expired;
  const attempts = evictFrom(true, wanted);
  if (attempts < wanted) evictFrom(false, wanted - attempts);
}

/** Evicts up to `wanted` flows of the attempts or of the others, silent longest; a heap of them, the youngest on top. */
function evictFrom(isAttempt: bool, wanted: u32): u32 {
  let size: u32 = 0;
  const spare = scratch + (<usize>wanted << 4);
  for (let slot: u32 = 0; slot < slots; slot++) {
    if (!isOpen(slot)) continue;
    const r = records + <usize>slot * RECORD;
    if (((load<u32>(r, R_STATE) & LIST_MASK) >> LIST_SHIFT == ATTEMPT) != isAttempt) continue;
    store<f64>(spare, load<f64>(r, R_LAST_CLOCK));
    store<u32>(spare, load<u32>(r, R_NUMBER), 8);
    store<u32>(spare, slot, 12);
    if (size < wanted) {
      let at = size++;
      while (at > 0) {
        const parent = (at - 1) >>> 1;
        if (!isBefore(scratch + (<usize>parent << 4), spare)) break;
        v128.store(scratch + (<usize>at << 4), v128.load(scratch + (<usize>parent << 4)));
        at = parent;
      }
      v128.store(scratch + (<usize>at << 4), v128.load(spare));
    } else if (isBefore(spare, scratch)) {
      let at: u32 = 0;
      while (true) {
        let child: u32 = 2 * at + 1;
        if (child >= size) break;
        if (child + 1 < size && isBefore(scratch + (<usize>child << 4), scratch + (<usize>(child + 1) << 4))) child++;
        if (!isBefore(spare, scratch + (<usize>child << 4))) break;
        v128.store(scratch + (<usize>at << 4), v128.load(scratch + (<usize>child << 4)));
        at = child;
      }
      v128.store(scratch + (<usize>at << 4), v128.load(spare));
    }
  }
  for (let i: u32 = 0; i < size; i++) {
    const slot = load<u32>(scratch + (<usize>i << 4), 12);
    end(slot, records + <usize>slot * RECORD, ENDED_EVICTED, clock);
  }
  store<f64>(TOTALS, load<f64>(TOTALS, 32) + <f64>size, 32);
  return size;
}

// --------------------------------------------------------------------------------------------------------- metering

/** Adds a parsed packet to its flow. */
function meter(p: usize, time: f64): void {
  const flags = load<u32>(p, P_FLAGS);
  const found = find(p);
  let slot = found - 1;
  let r: usize = 0;
  if (found != 0) {
    r = records + <usize>slot * RECORD;
    const state = load<u32>(r, R_STATE);
    const list = (state & LIST_MASK) >> LIST_SHIFT;
    const deadline = load<f64>(r, R_LAST_CLOCK) + timeoutOf(list);
    if (deadline <= clock) {
      end(slot, r, list == CLOSED ? ENDED_TCP : ENDED_IDLE, deadline);
      r = 0;
    } else if (list == CLOSED && (flags & (SYN | ACK)) == SYN) {
      end(slot, r, ENDED_TCP, clock);
      r = 0;
    } else if (clock - load<f64>(r, R_START_CLOCK) >= activeTimeout) {
      r = restart(slot, r, p);
      slot = <u32>((r - records) / RECORD);
    }
  }
  if (r == 0) {
    r = begin(p);
    slot = <u32>((r - records) / RECORD);
  }
  const state = load<u32>(r, R_STATE);
  const isForward = ((state & INITIATOR_IS_LOW) != 0) == (load<u32>(p, P_LOW) != 0);
  const payload = load<u32>(p, P_PAYLOAD);
  const isTcp = (load<u32>(p, P_KIND) & 255) == 6;
  addPacket(p, r, time, isForward ? 0 : 1);
  if (payload != 0) {
    if (withEntropy) addEntropy(p, r);
    inspect(p, r, isForward, isTcp);
  }
  store<f64>(r, clock, R_LAST_CLOCK);
  if (isTcp) advanceTcp(p, r, slot, isForward, flags);
  if (load<u32>(p, P_FIRST) != 0) remember(p);
}

/** Counts, lengths and times of a packet in `direction` 0 (forward) or 1. */
function addPacket(p: usize, r: usize, time: f64, direction: u32): void {
  const side = r + R_SIDE + <usize>direction * SIDE;
  const length = load<u32>(p, P_LENGTH);
  const packetsAt = r + R_PACKETS + (<usize>direction << 2);
  const packets = load<u32>(packetsAt);
  const size = <f64>length;
  const state = load<u32>(r, R_STATE);
  if (load<u64>(r, R_PACKETS) != 0) {
    const previous = load<f64>(r + R_SIDE + <usize>(state >>> 31) * SIDE, S_LAST);
    const silence = time - previous;
    if (silence < 0 || silence > idlePeriod || load<u32>(r, R_MORE) != 0) addSilence(r, time, previous, silence);
  } else {
    if (direction != 0) store<u8>(r, load<u8>(r, R_MISC + 2) | FIRST_IS_BACKWARD, R_MISC + 2);
    const m = <usize>load<u32>(r, R_MORE);
    if (m != 0) {
      // A continuation that took over a gap.
      store<f64>(m, time, M_EARLIEST);
      store<f64>(m, time, M_LATEST);
      store<f64>(m, time, M_PERIOD);
    }
  }
  store<u32>(r, (state & ~LAST_IS_BACKWARD) | (direction << 31), R_STATE);
  store<u32>(packetsAt, packets + 1);
  store<f64>(side, load<f64>(side, S_BYTES) + size, S_BYTES);
  store<f64>(side, load<f64>(side, S_PAYLOAD) + <f64>load<u32>(p, P_PAYLOAD), S_PAYLOAD);
  store<f64>(side, load<f64>(side, S_SQUARES) + size * size, S_SQUARES);
  if (packets == 0) {
    store<f64>(side, time, S_FIRST);
    store<u32>(side, length, S_LENGTH_MIN);
    store<u32>(side, length, S_LENGTH_MAX);
  } else {
    let x = time - load<f64>(side, S_LAST);
    if (x < 0) x = 0;
    const mean = load<f64>(side, S_MEAN);
    const d = x - mean;
    const moved = mean + d / <f64>packets;
    store<f64>(side, moved, S_MEAN);
    store<f64>(side, load<f64>(side, S_MOMENT) + d * (x - moved), S_MOMENT);
    if (packets == 1 || x < load<f64>(side, S_SHORTEST)) store<f64>(side, x, S_SHORTEST);
    if (x > load<f64>(side, S_LONGEST)) store<f64>(side, x, S_LONGEST);
    if (length < load<u32>(side, S_LENGTH_MIN)) store<u32>(side, length, S_LENGTH_MIN);
    if (length > load<u32>(side, S_LENGTH_MAX)) store<u32>(side, length, S_LENGTH_MAX);
  }
  store<f64>(side, time, S_LAST);
  if (length <= 1514) {
    // 0 up to 128, 1 up to 256, 2 up to 512, 3 up to 1024, else 4.
    const bucket: usize = length <= 128 ? 0 : length > 1024 ? 4 : 25 - <usize>clz<u32>(length - 1);
    const at = r + R_BUCKETS + (bucket << 2);
    store<u32>(at, load<u32>(at) + 1);
  }
  const kept = <u32>load<u8>(r, R_MISC + 1);
  if (kept < 8) {
    store<i32>(r + R_LENGTHS + (<usize>kept << 2), direction == 0 ? <i32>length : -<i32>length);
    store<u8>(r, kept + 1, R_MISC + 1);
  }
}

/** Silences, and packets that are older than the one before: what most flows do not have. */
function addSilence(r: usize, time: f64, previous: f64, silence: f64): void {
  const m = moreOf(r);
  if (time < load<f64>(m, M_EARLIEST)) store<f64>(m, time, M_EARLIEST);
  if (time > load<f64>(m, M_LATEST)) store<f64>(m, time, M_LATEST);
  if (silence > idlePeriod) {
    closePeriod(m, previous);
    store<f64>(m, time, M_PERIOD);
    const count = load<u32>(m, M_IDLE_COUNT);
    store<u32>(m, count + 1, M_IDLE_COUNT);
    store<f64>(m, load<f64>(m, M_IDLE_SUM) + silence, M_IDLE_SUM);
    if (count == 0 || silence < load<f64>(m, M_IDLE_MIN)) store<f64>(m, silence, M_IDLE_MIN);
    if (silence > load<f64>(m, M_IDLE_MAX)) store<f64>(m, silence, M_IDLE_MAX);
  }
}

function closePeriod(m: usize, last: f64): void {
  let active = last - load<f64>(m, M_PERIOD);
  if (active < 0) active = 0;
  store<f64>(m, load<f64>(m, M_ACTIVE_SUM) + active, M_ACTIVE_SUM);
  if (load<u32>(m, M_IDLE_COUNT) == 0 || active < load<f64>(m, M_ACTIVE_MIN)) store<f64>(m, active, M_ACTIVE_MIN);
  if (active > load<f64>(m, M_ACTIVE_MAX)) store<f64>(m, active, M_ACTIVE_MAX);
}

/** The rare measures of a flow, begun where there were none. */
function moreOf(r: usize): usize {
  let m = <usize>load<u32>(r, R_MORE);
  if (m != 0) return m;
  if (freeMore != 0) {
    m = freeMore;
    freeMore = <usize>load<u32>(m);
  } else {
    m = more + <usize>moreCount * MORE;
    moreCount++;
  }
  memory.fill(m, 0, MORE);
  store<u32>(r, <u32>m, R_MORE);
  const first = r + R_SIDE + ((<u32>load<u8>(r, R_MISC + 2) & FIRST_IS_BACKWARD) != 0 ? SIDE : 0);
  const last = r + R_SIDE + <usize>(load<u32>(r, R_STATE) >>> 31) * SIDE;
  store<f64>(m, load<f64>(first, S_FIRST), M_EARLIEST);
  store<f64>(m, load<f64>(last, S_LAST), M_LATEST);
  store<f64>(m, load<f64>(first, S_FIRST), M_PERIOD);
  return m;
}

/** A record for the packet's flow, in the index; what it counts is zero. */
function newRecord(p: usize): usize {
  let slot: u32;
  if (freeSlot != 0) {
    slot = freeSlot - 1;
    freeSlot = load<u32>(records + <usize>slot * RECORD);
  } else {
    slot = slots++;
    // The scan looks at two at a time.
    if ((slots & 1) != 0) store<f64>(deadlines + (<usize>slots << 3), NaN);
  }
  if (open * 2 > indexMask && indexMask + 1 < indexLimit) {
    // The slot in hand is in no list yet, so the index must not meet it.
    store<f64>(deadlines + (<usize>slot << 3), NaN);
    growIndex();
  }
  const r = records + <usize>slot * RECORD;
  memory.fill(r, 0, RECORD);
  const isLow = load<u32>(p, P_LOW) != 0;
  const low = p + (isLow ? P_SOURCE : P_DESTINATION);
  const high = p + (isLow ? P_DESTINATION : P_SOURCE);
  const kind = load<u32>(p, P_KIND);
  const hash = load<u32>(p, P_HASH);
  store<u32>(r, hash);
  store<u32>(r, load<u32>(low), R_LOW);
  store<u32>(r, load<u32>(high), R_HIGH);
  store<u32>(r, load<u32>(p, P_KEY_PORTS), R_PORTS);
  store<u32>(r, kind, R_KIND);
  store<u32>(r, load<u32>(p, P_TUNNEL), R_TUNNEL);
  if (((kind >>> 8) & 255) == 6) {
    memory.copy(r + R_LOW_REST, low + 4, 12);
    memory.copy(r + R_HIGH_REST, high + 4, 12);
  }
  store<u32>(r, nextNumber++, R_NUMBER);
  store<f64>(r, clock, R_START_CLOCK);
  place(hash, slot);
  open++;
  setDeadline(slot, clock + idleTimeout);
  return r;
}

// @ts-ignore: decorator
@inline
function setDeadline(slot: u32, deadline: f64): void {
  store<f64>(deadlines + (<usize>slot << 3), deadline);
  if (deadline < earliest) earliest = deadline;
}

/** Opens a flow that begins with the packet. */
function begin(p: usize): usize {
  if (open >= maxFlows) evict();
  const r = newRecord(p);
  const isTcp = (load<u32>(p, P_KIND) & 255) == 6;
  const isLate = isTcp && (load<u32>(p, P_FLAGS) & (SYN | ACK)) == (SYN | ACK);
  let state = IDLE << LIST_SHIFT;
  if ((load<u32>(p, P_LOW) != 0) != isLate) state |= INITIATOR_IS_LOW;
  store<u32>(r, state, R_STATE);
  store<u8>(r, load<u32>(p, P_PORTS) >>> 16, R_MISC);
  return r;
}

/** Ends a flow at the active timeout and opens its continuation, which keeps direction and TCP state. */
function restart(slot: u32, r: usize, p: usize): usize {
  end(slot, r, ENDED_ACTIVE, clock);
  const next = newRecord(p);
  const state = load<u32>(r, R_STATE);
  // The list is the one that the deadline was set for.
  store<u32>(next, (state & ~(0xffff | LAST_IS_BACKWARD | LIST_MASK)) | (IDLE << LIST_SHIFT), R_STATE);
  const list = (state & LIST_MASK) >> LIST_SHIFT;
  if (list != IDLE) setList(next, <u32>((next - records) / RECORD), list);
  store<u32>(next, load<u32>(r, R_EXPECTED), R_EXPECTED);
  store<u8>(next, load<u8>(r, R_MISC), R_MISC);
  store<u32>(next + R_SIDE, load<u32>(r + R_SIDE, S_NEXT), S_NEXT);
  store<u32>(next + R_SIDE + SIDE, load<u32>(r + R_SIDE + SIDE, S_NEXT), S_NEXT);
  const m = <usize>load<u32>(r, R_MORE);
  if (m != 0 && (load<u64>(m, M_GAP) != 0 || load<u64>(m, M_GAP + 8) != 0)) memory.copy(moreOf(next) + M_GAP, m + M_GAP, 16);
  return next;
}

function setList(r: usize, slot: u32, list: u32): void {
  store<u32>(r, (load<u32>(r, R_STATE) & ~LIST_MASK) | (list << LIST_SHIFT), R_STATE);
  setDeadline(slot, clock + timeoutOf(list));
}

/** Moves the TCP state, the sequence numbers and the list of a flow. */
function advanceTcp(p: usize, r: usize, slot: u32, isForward: bool, flags: u32): void {
  let state = load<u32>(r, R_STATE);
  const direction: u32 = isForward ? 0 : 1;
  const windowAt = r + R_WINDOWS + (<usize>direction << 1);
  const window = load<u32>(p, P_WINDOW);
  if (window > <u32>load<u16>(windowAt)) store<u16>(windowAt, <u16>window);
  let own = (state >>> (16 + (direction << 2))) & 15;
  let peer = (state >>> (20 - (direction << 2))) & 15;
  if ((flags & RST) != 0) {
    if (peer != SIDE_RESET && !(own == SIDE_CLOSED && peer == SIDE_CLOSED)) own = SIDE_RESET;
  } else if ((flags & FIN) != 0) {
    if (own != SIDE_RESET) own = SIDE_CLOSED;
  } else if ((flags & SYN) != 0) {
    if ((flags & ACK) != 0 && peer == SYN_SENT && own <= SYN_SENT) {
      own = ESTABLISHED;
      peer = ESTABLISHED;
    } else if (own <= PARTIAL) {
      own = (flags & ACK) != 0 ? SYN_ACK_SENT : SYN_SENT;
    }
  } else if (own == INACTIVE) {
    own = PARTIAL;
  }
  let initiator = own;
  let responder = peer;
  if (isForward) {
    state |= flags;
    if (
      (flags & (SYN | ACK | RST)) == ACK &&
      (state & ACK_EXPECTED) != 0 &&
      load<u32>(p, P_ACKNOWLEDGED) == load<u32>(r, R_EXPECTED)
    ) {
      state |= HANDSHAKE_SEEN;
    }
  } else {
    initiator = peer;
    responder = own;
    state |= flags << 8;
    if ((flags & (SYN | ACK)) == (SYN | ACK)) {
      state |= ACK_EXPECTED;
      store<u32>(r, load<u32>(p, P_SEQUENCE) + 1, R_EXPECTED);
    }
  }
  state = (state & ~0xff0000) | (initiator << 16) | (responder << 20);
  const isClosed =
    initiator == SIDE_RESET || responder == SIDE_RESET || (initiator == SIDE_CLOSED && responder == SIDE_CLOSED);
  let list = initiator == SYN_SENT && responder == INACTIVE ? ATTEMPT : IDLE;
  if (isClosed && splitAtEnd) list = CLOSED;
  const known = SEQUENCE_KNOWN << direction;
  const side = r + R_SIDE + <usize>direction * SIDE;
  const sequence = load<u32>(p, P_SEQUENCE);
  const length = load<u32>(p, P_PAYLOAD) + ((flags >>> 1) & 1) + (flags & 1);
  const oldList = (state & LIST_MASK) >> LIST_SHIFT;
  store<u32>(r, state | known, R_STATE);
  if ((state & known) == 0) {
    store<u32>(side, sequence + length, S_NEXT);
  } else if (length != 0) {
    const next = load<u32>(side, S_NEXT);
    if (sequence == next) store<u32>(side, sequence + length, S_NEXT);
    else addOutOfTurn(p, r, direction, flags, length);
  }
  if (list != oldList) setList(r, slot, list);
}

/** A segment that does not follow the one before: sent again, filling a gap, or leaving one. */
function addOutOfTurn(p: usize, r: usize, direction: u32, flags: u32, length: u32): void {
  const side = r + R_SIDE + <usize>direction * SIDE;
  const sequence = load<u32>(p, P_SEQUENCE);
  const next = load<u32>(side, S_NEXT);
  const payload = load<u32>(p, P_PAYLOAD);
  // A probe that keeps the connection alive (RFC 9293, section 3.8.4).
  if (payload == 1 && (flags & (SYN | FIN | RST)) == 0 && sequence == next - 1) return;
  const last = sequence + length;
  if (<i32>(last - next) > 0) {
    if (<i32>(sequence - next) > 0) {
      const gap = moreOf(r) + M_GAP + (<usize>direction << 3);
      store<u32>(gap, next);
      store<u32>(gap, sequence, 4);
    }
    store<u32>(side, last, S_NEXT);
    return;
  }
  const m = moreOf(r);
  const gap = m + M_GAP + (<usize>direction << 3);
  const gapStart = load<u32>(gap);
  const gapEnd = load<u32>(gap, 4);
  if (gapStart != gapEnd && <i32>(sequence - gapStart) >= 0 && <i32>(gapEnd - last) >= 0) {
    const at = m + M_FILLED + (<usize>direction << 2);
    store<u32>(at, load<u32>(at) + 1);
    if (sequence == gapStart) store<u32>(gap, last);
    else if (last == gapEnd) store<u32>(gap, sequence, 4);
    return;
  }
  const at = m + M_RESENT + (<usize>direction << 2);
  store<u32>(at, load<u32>(at) + 1);
  const bytesAt = m + M_RESENT_BYTES + (<usize>direction << 3);
  store<f64>(bytesAt, load<f64>(bytesAt) + <f64>payload);
}

/** Shannon entropy of the captured payload, weighted by its bytes. */
function addEntropy(p: usize, r: usize): void {
  const seen = <u32>load<u8>(r, R_MISC + 3);
  const start = <usize>load<u32>(p, P_START);
  let last = <usize>load<u32>(p, P_END);
  if (seen == 16 || last <= start) return;
  store<u8>(r, seen + 1, R_MISC + 3);
  if (last - start > MAX_ENTROPY_BYTES) last = start + MAX_ENTROPY_BYTES;
  memory.fill(HISTOGRAM, 0, 1024);
  for (let at = start; at < last; at++) {
    const cell = HISTOGRAM + (<usize>load<u8>(at) << 2);
    store<u32>(cell, load<u32>(cell) + 1);
  }
  let sum: f64 = 0;
  for (let i: usize = 0; i < 1024; i += 4) sum += load<f64>(LOGS + (<usize>load<u32>(HISTOGRAM + i) << 3));
  const n = last - start;
  const m = moreOf(r);
  store<f64>(m, load<f64>(m, M_ENTROPY) + (load<f64>(LOGS + (n << 3)) - sum), M_ENTROPY);
  store<f64>(m, load<f64>(m, M_WEIGHT) + <f64>n, M_WEIGHT);
}

/** Notes a DNS message or the beginning of a TLS stream for the host. */
function inspect(p: usize, r: usize, isForward: bool, isTcp: bool): void {
  const start = <usize>load<u32>(p, P_START);
  const last = <usize>load<u32>(p, P_END);
  let kind: u32 = 0;
  if (isTcp) {
    const side = r + R_SIDE + (isForward ? 0 : SIDE);
    // The first payload of its direction.
    if (load<f64>(side, S_PAYLOAD) != <f64>load<u32>(p, P_PAYLOAD) || last < start + 6) return;
    if (load<u16>(start) != 0x0316 || load<u8>(start, 5) != 1) return;
    kind = 2;
  } else {
    if ((load<u32>(p, P_KIND) & 255) != 17 || last < start + 12) return;
    const ports = load<u32>(p, P_PORTS);
    if (!isDns(ports >>> 16) && !isDns(ports & 0xffff)) return;
    const seen = <u32>load<u8>(r, R_MISC + 2);
    if ((seen & 31) == 16) return;
    store<u8>(r, seen + 1, R_MISC + 2);
    kind = 1;
  }
  store<u8>(r, load<u8>(r, R_MISC + 2) | INSPECTED, R_MISC + 2);
  const entry = INSPECT + (<usize>inspectCount << 4);
  inspectCount++;
  store<u32>(entry, load<u32>(r, R_NUMBER));
  store<u32>(entry, kind | (isForward ? 256 : 0), 4);
  store<u32>(entry, <u32>start, 8);
  store<u32>(entry, <u32>last, 12);
}

// @ts-ignore: decorator
@inline
function isDns(port: u32): bool {
  return port == 53 || port == 5353 || port == 5355;
}

// ------------------------------------------------------------------------------------------------------- fragments

/** Keeps the ports of a first fragment: kind and tunnel, addresses, identification, ports, protocol, clock. */
function remember(p: usize): void {
  const f = FRAGMENTS + <usize>fragmentAt * FRAGMENT_SIZE;
  const kind = load<u32>(p, P_KIND);
  const isIpv6 = ((kind >>> 8) & 255) == 6;
  store<u32>(f, isIpv6 ? (kind & ~255) | 44 : kind);
  store<u32>(f, load<u32>(p, P_TUNNEL), 4);
  store<u32>(f, load<u32>(p, P_FRAGMENT), 8);
  memory.copy(f + 12, p + P_SOURCE, 32);
  store<u32>(f, load<u32>(p, P_PORTS), 44);
  store<u32>(f, kind, 48);
  store<f64>(f, clock, 56);
  fragmentAt = (fragmentAt + 1) & (FRAGMENT_COUNT - 1);
  if (fragmentCount < FRAGMENT_COUNT) fragmentCount++;
}

function isFragmentOf(p: usize, f: usize): bool {
  if (load<u32>(f, 8) != load<u32>(p, P_FRAGMENT) || load<u32>(f) != load<u32>(p, P_KIND)) return false;
  if (load<u32>(f, 4) != load<u32>(p, P_TUNNEL)) return false;
  const words: usize = ((load<u32>(p, P_KIND) >>> 8) & 255) == 4 ? 4 : 16;
  for (let i: usize = 0; i < words; i += 4) {
    if (load<u32>(f + 12 + i) != load<u32>(p + P_SOURCE + i)) return false;
    if (load<u32>(f + 28 + i) != load<u32>(p + P_DESTINATION + i)) return false;
  }
  return true;
}

/** Adds a later fragment to the open flow of its first one. */
function meterFragment(p: usize, time: f64): void {
  let at = fragmentAt;
  for (let i: u32 = 0; i < fragmentCount; i++) {
    at = (at - 1) & (FRAGMENT_COUNT - 1);
    const f = FRAGMENTS + <usize>at * FRAGMENT_SIZE;
    if (!isFragmentOf(p, f)) continue;
    if (clock - load<f64>(f, 56) > FRAGMENT_AGE) break;
    store<u32>(p, load<u32>(f, 44), P_PORTS);
    store<u32>(p, load<u32>(f, 48), P_KIND);
    P = p;
    makeKey();
    const found = find(p);
    if (found == 0) break;
    let r = records + <usize>(found - 1) * RECORD;
    const list = (load<u32>(r, R_STATE) & LIST_MASK) >> LIST_SHIFT;
    const deadline = load<f64>(r, R_LAST_CLOCK) + timeoutOf(list);
    if (deadline <= clock) {
      end(found - 1, r, list == CLOSED ? ENDED_TCP : ENDED_IDLE, deadline);
      break;
    }
    if (clock - load<f64>(r, R_START_CLOCK) >= activeTimeout) r = restart(found - 1, r, p);
    const isForward = ((load<u32>(r, R_STATE) & INITIATOR_IS_LOW) != 0) == (load<u32>(p, P_LOW) != 0);
    addPacket(p, r, time, isForward ? 0 : 1);
    store<f64>(r, clock, R_LAST_CLOCK);
    return;
  }
  store<f64>(TOTALS, load<f64>(TOTALS, 24) + 1, 24);
}

// ------------------------------------------------------------------------------------------------------------- rows

/** Zeek's name for how a TCP connection stands, as in src/traffic/connection-state.ts. */
function connectionState(initiator: u32, responder: u32): u32 {
  const S0: u32 = 0;
  const S1: u32 = 1;
  const SF: u32 = 2;
  const REJ: u32 = 3;
  const S2: u32 = 4;
  const S3: u32 = 5;
  const RSTO: u32 = 6;
  const RSTR: u32 = 7;
  const RSTOS0: u32 = 8;
  const RSTRH: u32 = 9;
  const SH: u32 = 10;
  const SHR: u32 = 11;
  const OTH: u32 = 12;
  const initiatorUnseen = initiator <= PARTIAL;
  const responderUnseen = responder <= PARTIAL;
  if (responder == SIDE_RESET) {
    if (initiator == SYN_SENT || initiator == SYN_ACK_SENT) return REJ;
    return initiatorUnseen ? RSTRH : RSTR;
  }
  if (initiator == SIDE_RESET) return responderUnseen ? RSTOS0 : RSTO;
  if (initiator == SIDE_CLOSED && responder == SIDE_CLOSED) return SF;
  if (initiator == SIDE_CLOSED) return responderUnseen ? SH : S2;
  if (responder == SIDE_CLOSED) return initiatorUnseen ? SHR : S3;
  if (initiator == SYN_SENT && responder == INACTIVE) return S0;
  if (initiator == ESTABLISHED && responder == ESTABLISHED) return S1;
  return OTH;
}

/** Writes an ended flow into a row: its identity, then its numbers in the order of FLOW_NUMBERS. */
function writeRow(row: u32, r: usize): void {
  const id = IDENTITY + <usize>row * 48;
  const out = NUMBERS + (<usize>row << 3);
  const state = load<u32>(r, R_STATE);
  const kind = load<u32>(r, R_KIND);
  const ports = load<u32>(r, R_PORTS);
  const protocol = kind & 255;
  const version = (kind >>> 8) & 255;
  const isLow = (state & INITIATOR_IS_LOW) != 0;
  const isIcmp = protocol == (version == 4 ? 1 : 58);
  const low = id + (isLow ? 0 : 16);
  const high = id + (isLow ? 16 : 0);
  store<u32>(low, load<u32>(r, R_LOW));
  store<u32>(high, load<u32>(r, R_HIGH));
  memory.copy(low + 4, r + R_LOW_REST, 12);
  memory.copy(high + 4, r + R_HIGH_REST, 12);
  if (isIcmp) store<u32>(id, (<u32>load<u8>(r, R_MISC) << 16) | (ports & 0xffff), 32);
  else store<u32>(id, isLow ? ports : rotl<u32>(ports, 16), 32);
  store<u32>(id, kind, 36);
  store<u32>(id, load<u32>(r, R_TUNNEL), 40);
  const packets = load<u32>(r, R_PACKETS);
  const answers = load<u32>(r, R_PACKETS + 4);
  let connection: u32 = packets > 0 && answers > 0 ? 2 : 0;
  if (protocol == 6) connection = connectionState((state >>> 16) & 15, (state >>> 20) & 15);
  const handshake: u32 = (state & HANDSHAKE_SEEN) != 0 ? 1 : 0;
  store<u32>(id, (handshake << 16) | (load<u32>(r) << 8) | connection, 44);

  const misc = <u32>load<u8>(r, R_MISC + 2);
  store<u32>(ROW_SEQUENCE + (<usize>row << 2), (misc & INSPECTED) != 0 ? load<u32>(r, R_NUMBER) : 0);
  const first = load<f64>(r + R_SIDE + ((misc & FIRST_IS_BACKWARD) != 0 ? SIDE : 0), S_FIRST);
  const last = load<f64>(r + R_SIDE + <usize>(state >>> 31) * SIDE, S_LAST);
  const m = <usize>load<u32>(r, R_MORE);
  store<f64>(out, m != 0 ? load<f64>(m, M_EARLIEST) : first, 0 * STRIDE);
  store<f64>(out, m != 0 ? load<f64>(m, M_LATEST) : last, 1 * STRIDE);
  writeSide(out + 2 * STRIDE, out + 10 * STRIDE, r, m, 0);
  writeSide(out + 6 * STRIDE, out + 23 * STRIDE, r, m, 1);
  store<f64>(out, <f64>load<u32>(r, R_BUCKETS), 36 * STRIDE);
  store<f64>(out, <f64>load<u32>(r, R_BUCKETS + 4), 37 * STRIDE);
  store<f64>(out, <f64>load<u32>(r, R_BUCKETS + 8), 38 * STRIDE);
  store<f64>(out, <f64>load<u32>(r, R_BUCKETS + 12), 39 * STRIDE);
  store<f64>(out, <f64>load<u32>(r, R_BUCKETS + 16), 40 * STRIDE);
  if (m != 0) {
    closePeriod(m, last);
    const idles = <f64>load<u32>(m, M_IDLE_COUNT);
    store<f64>(out, load<f64>(m, M_ACTIVE_MIN), 41 * STRIDE);
    store<f64>(out, load<f64>(m, M_ACTIVE_MAX), 42 * STRIDE);
    store<f64>(out, load<f64>(m, M_ACTIVE_SUM) / (idles + 1), 43 * STRIDE);
    store<f64>(out, idles, 44 * STRIDE);
    store<f64>(out, load<f64>(m, M_IDLE_MIN), 45 * STRIDE);
    store<f64>(out, load<f64>(m, M_IDLE_MAX), 46 * STRIDE);
    store<f64>(out, idles == 0 ? 0 : load<f64>(m, M_IDLE_SUM) / idles, 47 * STRIDE);
  } else {
    const active = last - first;
    store<f64>(out, active, 41 * STRIDE);
    store<f64>(out, active, 42 * STRIDE);
    store<f64>(out, active, 43 * STRIDE);
    store<f64>(out, 0, 44 * STRIDE);
    store<f64>(out, 0, 45 * STRIDE);
    store<f64>(out, 0, 46 * STRIDE);
    store<f64>(out, 0, 47 * STRIDE);
  }
  store<f64>(out, <f64>load<i32>(r, R_LENGTHS), 48 * STRIDE);
  store<f64>(out, <f64>load<i32>(r, R_LENGTHS + 4), 49 * STRIDE);
  store<f64>(out, <f64>load<i32>(r, R_LENGTHS + 8), 50 * STRIDE);
  store<f64>(out, <f64>load<i32>(r, R_LENGTHS + 12), 51 * STRIDE);
  store<f64>(out, <f64>load<i32>(r, R_LENGTHS + 16), 52 * STRIDE);
  store<f64>(out, <f64>load<i32>(r, R_LENGTHS + 20), 53 * STRIDE);
  store<f64>(out, <f64>load<i32>(r, R_LENGTHS + 24), 54 * STRIDE);
  store<f64>(out, <f64>load<i32>(r, R_LENGTHS + 28), 55 * STRIDE);
  if (withEntropy) {
    const weight = m != 0 ? load<f64>(m, M_WEIGHT) : 0;
    store<f64>(out, weight > 0 ? load<f64>(m, M_ENTROPY) / weight : 0, 56 * STRIDE);
  }
  // The rest is the inspector's; rows that it does not fill are missing.
}

// @ts-ignore: decorator
@inline
function deviation(moment: f64, n: f64): f64 {
  const variance = moment / (n - 1);
  return variance > 0 ? Math.sqrt(variance) : 0;
}

/** The counts of a direction from column `counts` on, its measures from `out` on. */
function writeSide(counts: usize, out: usize, r: usize, m: usize, direction: u32): void {
  const side = r + R_SIDE + <usize>direction * SIDE;
  const n = <f64>load<u32>(r + R_PACKETS + (<usize>direction << 2));
  const bytes = load<f64>(side, S_BYTES);
  store<f64>(counts, n, 0 * STRIDE);
  store<f64>(counts, bytes, 1 * STRIDE);
  store<f64>(counts, load<f64>(side, S_PAYLOAD), 2 * STRIDE);
  store<f64>(counts, <f64>((load<u32>(r, R_STATE) >>> (direction << 3)) & 255), 3 * STRIDE);
  store<f64>(out, <f64>load<u32>(side, S_LENGTH_MIN), 0 * STRIDE);
  store<f64>(out, <f64>load<u32>(side, S_LENGTH_MAX), 1 * STRIDE);
  store<f64>(out, n == 0 ? 0 : bytes / n, 2 * STRIDE);
  let duration: f64 = 0;
  let lengths: f64 = 0;
  let times: f64 = 0;
  if (n > 1) {
    lengths = deviation(load<f64>(side, S_SQUARES) - (bytes * bytes) / n, n);
    if (n > 2) times = deviation(load<f64>(side, S_MOMENT), n - 1);
    duration = load<f64>(side, S_LAST) - load<f64>(side, S_FIRST);
    if (duration < 0) duration = 0;
  }
  store<f64>(out, lengths, 3 * STRIDE);
  store<f64>(out, duration, 4 * STRIDE);
  store<f64>(out, load<f64>(side, S_SHORTEST), 5 * STRIDE);
  store<f64>(out, load<f64>(side, S_LONGEST), 6 * STRIDE);
  store<f64>(out, load<f64>(side, S_MEAN), 7 * STRIDE);
  store<f64>(out, times, 8 * STRIDE);
  const at = <usize>direction << 2;
  store<f64>(out, m != 0 ? <f64>load<u32>(m + M_RESENT + at) : 0, 9 * STRIDE);
  store<f64>(out, m != 0 ? load<f64>(m + M_RESENT_BYTES + (at << 1)) : 0, 10 * STRIDE);
  store<f64>(out, m != 0 ? <f64>load<u32>(m + M_FILLED + at) : 0, 11 * STRIDE);
  store<f64>(out, <f64>load<u16>(r + R_WINDOWS + (<usize>direction << 1)), 12 * STRIDE);
}
