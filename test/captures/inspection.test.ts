import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { requireData, requireTool } from '../support/requires.ts';
import { NaiveFlowMeter } from '../twins/flow-meter/naive-flow-meter.ts';
import { captureNames, oneCapture, readCapture } from './one-capture.ts';

/** What other programs publish of the same captures: Suricata's own test, and nDPI's results for JA4_b and JA4_c. */
const PUBLISHED: readonly (readonly [string, string])[] = [
  ['suricata-verify/ja4-tls__input.pcap', 't12i1810s1_27d4652c4487_06a4338d0495'],
  ['ndpi/anydesk.pcapng', '_9197985d2161_a1e935682795'],
  ['ndpi/anydesk.pcapng', '_168bb377f8c8_a1e935682795'],
];

test('gives the JA4 that Suricata and nDPI publish for the same captures', (t) => {
  const root = requireData(t, 'pcap');
  if (root === undefined) return;
  for (const [name, expected] of PUBLISHED) {
    const meter = new NaiveFlowMeter();
    readCapture(join(root, name), (...packet) => meter.addSlice(...packet));
    const found = meter.finish().map((flow) => flow.names?.ja4 ?? '');
    assert.ok(
      found.some((ja4) => ja4.endsWith(expected)),
      `${name}: expected ${expected}, got ${found.join(' ')}`,
    );
  }
});

test('agrees with tshark on the name and JA4 of every ClientHello that fits its segment', {
  timeout: 120_000,
}, async (t) => {
  const root = requireData(t, 'pcap');
  if (root === undefined || !requireTool(t, 'tshark')) return;
  const names = captureNames(root);
  const ours = new Map<string, Set<string>>();
  for (const name of names) {
    const meter = new NaiveFlowMeter();
    readCapture(join(root, name), (...packet) => meter.addSlice(...packet));
    for (const { names: read } of meter.finish()) {
      if (read?.ja4 === undefined) continue;
      const said = ours.get(name) ?? new Set();
      ours.set(name, said.add(`${read.ja4} ${read.sni ?? ''}`));
    }
  }
  const theirs = await tsharkHellos(root, names);
  let [hellos, unseen] = [0, 0];
  const differences: string[] = [];
  for (const [name, said] of ours) {
    const seen = [...(theirs.get(name) ?? [])];
    for (const hello of said) {
      const [beginning = '', , end = ''] = hello.split(/(?<=_.{12}_)(.{12})/);
      // tshark leaves out what it does not take for TLS: unusual ports, streams that begin in their middle.
      const same = seen.filter((other) => other.startsWith(beginning) && other.endsWith(end));
      if (same.length === 0) unseen++;
      else if (same.includes(hello) || same.includes(`${beginning}${UNKNOWN}${end}`)) hellos++;
      else differences.push(`${name}: ${hello}, tshark ${same.join('; ')}`);
    }
  }
  assert.deepEqual(differences, []);
  assert.ok(hellos >= 150, `expected 150 different hellos, got ${hellos}`);
  assert.ok(unseen <= 5, `tshark does not know ${unseen} hellos`);
  t.diagnostic(`${hellos} different ClientHellos in ${ours.size} captures`);
});

/** JA4_c where tshark's list of signature algorithms holds those of other extensions too (34 and 50). */
const UNKNOWN = '?'.repeat(12);

const FIELDS = [
  'frame.interface_id',
  'tls.handshake.version',
  'tls.handshake.ciphersuite',
  'tls.handshake.extension.type',
  'tls.handshake.sig_hash_alg',
  'tls.handshake.extensions.supported_version',
  'tls.handshake.extensions_alpn_str',
  'tls.handshake.extensions_server_name',
];

/** Name and JA4 of the ClientHellos of every capture, put together from what tshark dissects. */
async function tsharkHellos(root: string, names: readonly string[]): Promise<Map<string, Set<string>>> {
  const folder = mkdtempSync(join(tmpdir(), 'guardian-hellos-'));
  try {
    const one = oneCapture(root, names);
    const path = join(folder, 'all.pcapng');
    writeFileSync(path, one.bytes);
    const args = ['-n', '-r', path, '-o', 'tcp.desegment_tcp_streams:FALSE'];
    // Every stream that begins like TLS, on whatever port.
    const format = [
      '-Y',
      'tls.handshake.type == 1',
      '-T',
      'fields',
      '-E',
      'occurrence=a',
      '-E',
      'aggregator=,',
    ];
    const fields = FIELDS.flatMap((field) => ['-e', field]);
    const { stdout } = await promisify(execFile)('tshark', [...args, ...format, ...fields], {
      maxBuffer: 1 << 28,
    });
    const hellos = new Map<string, Set<string>>();
    for (const line of stdout.split('\n')) {
      const cells = line.split('\t');
      const name = one.interfaces[Number(cells[0])];
      if (line === '' || name === undefined) continue;
      const said = hellos.get(name) ?? new Set();
      hellos.set(name, said.add(`${ja4(cells)} ${(cells[7] ?? '').toLowerCase()}`));
    }
    return hellos;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function ja4([
  ,
  version = '',
  ciphers = '',
  types = '',
  algorithms = '',
  versions = '',
  alpn = '',
]: string[]): string {
  const numbers = (cell: string) =>
    cell
      .split(',')
      .filter((value) => value !== '')
      .map((value) => Number(value).toString(16).padStart(4, '0'))
      .filter((hex) => !/^(.a)\1$/.test(hex));
  const suites = numbers(ciphers);
  const extensions = numbers(types);
  const highest = numbers(versions).sort().at(-1) ?? numbers(version)[0] ?? '';
  const letters: Record<string, string> = {
    '0304': '13',
    '0303': '12',
    '0302': '11',
    '0301': '10',
    '0300': 's3',
  };
  const count = (list: readonly string[]) => String(Math.min(99, list.length)).padStart(2, '0');
  const protocol = alpn.split(',')[0] ?? '';
  const ends = protocol === '' ? '00' : `${protocol[0]}${protocol.at(-1)}`;
  const sni = extensions.includes('0000') ? 'd' : 'i';
  const shown = extensions.filter((type) => type !== '0000' && type !== '0010').sort();
  const signed = numbers(algorithms);
  const hash = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 12);
  const b = suites.length === 0 ? '0'.repeat(12) : hash([...suites].sort().join());
  const isMixed = extensions.includes('0022') || extensions.includes('0032');
  const all = [shown.join(), signed.join()].filter(Boolean).join('_');
  const known = shown.length === 0 ? '0'.repeat(12) : hash(all);
  const c = isMixed ? UNKNOWN : known;
  return `t${letters[highest] ?? '00'}${sni}${count(suites)}${count(extensions)}${ends}_${b}_${c}`;
}
