import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TcpdumpReport } from './tcpdump-report.ts';

const LISTENING = 'tcpdump: listening on eth0, link-type EN10MB (Ethernet), snapshot length 262144 bytes\n';

test('knows when tcpdump listens, and takes the latest counts, also where they come in pieces', () => {
  const lost: Record<string, number> = {};
  const report = new TcpdumpReport(lost);
  assert.equal(report.isListening, false);
  for (const letter of LISTENING) report.push(letter);
  assert.equal(report.isListening, true);
  report.push('tcpdump: 5 packets captured, 5 packets received by filter, 0 packets dropped by kernel\n');
  assert.deepEqual(lost, {});
  report.push('tcpdump: 50 packets captured, 75 packets received by filter, 2');
  report.push('5 packets dropped by kernel\n');
  assert.deepEqual(lost, { kernel: 25 });
  report.push('90 packets captured\n130 packets received by filter\n30 packets dropped by kernel\n');
  report.push('1 packet dropped by interface\n');
  report.settle();
  assert.deepEqual(lost, { kernel: 30, interface: 1, unread: 10 });
});

test('gives each complaint its code, without what a terminal would obey', () => {
  const codeOf = (said: string) => {
    const report = new TcpdumpReport({});
    report.push(`tcpdump: ${said}\n`);
    return report.failure('eth0').code;
  };
  assert.deepEqual(
    [
      "eth0: You don't have permission to perform this capture on that device",
      'eth0: No such device exists (SIOCGIFHWADDR: No such device)',
      "can't parse filter expression: syntax error",
      'pcap_loop: The interface disappeared',
      'pcap_loop: The interface went down',
      'something else',
    ].map(codeOf),
    [
      'traffic.capture-denied',
      'traffic.interface-missing',
      'traffic.filter-invalid',
      'traffic.interface-gone',
      'traffic.interface-gone',
      'traffic.capture-failed',
    ],
  );
  const report = new TcpdumpReport({});
  report.push('tcpdump: \u001b[31mno\n');
  assert.ok(!report.failure('eth0').message.includes('\u001b'));
});
