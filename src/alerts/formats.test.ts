import '../../test/support/seed.ts';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { makeJudged } from '../../test/support/judged.ts';
import { OcsfSchema } from '../../test/support/ocsf.ts';
import { requireData } from '../../test/support/requires.ts';
import { ManualClock } from '../base/index.ts';
import { readAlertsConfig } from './config.ts';
import type { Detection } from './detection.ts';
import { escapeQuoted, escapeWire } from './escape.ts';
import { Findings } from './findings.ts';
import { formatCef } from './format-cef.ts';
import { eveOf, formatEve } from './format-eve.ts';
import { formatLine } from './format-line.ts';
import { formatOcsf, ocsfOf } from './format-ocsf.ts';
import { PRODUCT } from './product.ts';

const KINDS = [
  'port-scan',
  'host-sweep',
  'slow-scan',
  'icmp-sweep',
  'syn-flood',
  'slow-http',
  'password-guessing',
  'dns-tunnel',
  'beaconing',
  'exfiltration',
  undefined,
];

/** All states of a finding: created by four flows, updated by eight, closed. */
function lifeOf(
  flow: Parameters<typeof makeJudged>[0] = {},
  score: Parameters<typeof makeJudged>[1] = {},
): readonly Detection[] {
  const findings = new Findings({
    config: readAlertsConfig(),
    clock: new ManualClock(Date.UTC(2026, 5, 1)),
    newUid: () => 'uid-1',
  });
  const flows = (count: number) => Array.from({ length: count }, () => makeJudged(flow, score));
  return [...findings.add(flows(4)), ...findings.add(flows(8)), ...findings.finish()];
}

const first = (...life: Parameters<typeof lifeOf>): Detection => lifeOf(...life)[0] as Detection;

const HOSTILE = [
  'a\nb',
  'a\r\nCEF:0|x',
  '\u001b[2Jgone',
  '\u009b31m',
  '\u0000',
  'x\u007fy',
  '\u202egnp.exe',
  '\u2066x\u2069',
  '\u2028next',
  'quote"and\\slash',
  'pipe|equals=',
  '\ud800',
  '{"uid":1}',
  '\u00a0\u3000wide',
  'z'.repeat(10_000),
];
/** Anything that a terminal, a log reader or a browser might act on. */
const ACTIVE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;

suite('OCSF', () => {
  test('has every required attribute, and only values the schema knows', (t) => {
    const folder = requireData(t, 'vectors/ocsf');
    if (folder === undefined) return;
    const schema = new OcsfSchema(folder);
    let checked = 0;
    for (const kind of KINDS) {
      for (const sourceAddress of ['10.0.0.5', '203.0.113.9', '2001:db8::5']) {
        for (const confidence of [0.5, 0.8, 0.95]) {
          for (const detection of lifeOf({ sourceAddress }, { kind, confidence })) {
            assert.deepEqual(
              schema.checkDetectionFinding(ocsfOf(detection)),
              [],
              `${kind} ${detection.activity}`,
            );
            checked++;
          }
        }
      }
    }
    assert.equal(checked, KINDS.length * 27);
    const silenced = { ...first(), suppressedBy: 'rule' };
    assert.deepEqual(schema.checkDetectionFinding(ocsfOf(silenced)), []);
    const udp = first({ protocol: 17 });
    assert.deepEqual(schema.checkDetectionFinding(ocsfOf(udp)), []);
    const odd = first({ sourceAddress: HOSTILE[0] ?? '', protocol: 1 });
    assert.deepEqual(schema.checkDetectionFinding(ocsfOf(odd)), []);
  });

  test('is checked by a check that finds faults', (t) => {
    const folder = requireData(t, 'vectors/ocsf');
    if (folder === undefined) return;
    const schema = new OcsfSchema(folder);
    const good = ocsfOf(first());
    const { finding_info: _, ...withoutInfo } = good;
    const info = good.finding_info as Record<string, unknown>;
    const metadata = good.metadata as Record<string, unknown>;
    const faults: readonly (readonly [string, Record<string, unknown>, RegExp])[] = [
      ['a required attribute is missing', withoutInfo, /^finding_info: missing$/],
      [
        'an inner one is missing',
        { ...good, finding_info: { ...info, uid: undefined } },
        /finding_info\.uid/,
      ],
      ['one is unknown', { ...good, colour: 'red' }, /^colour: not in the schema$/],
      ['a number is text', { ...good, severity_id: '3' }, /severity_id/],
      ['a time has a fraction', { ...good, time: 1.5 }, /^time/],
      ['a value is not in its enumeration', { ...good, severity_id: 7 }, /enumeration/],
      ['a caption differs', { ...good, severity: 'Huge' }, /expected Medium, got Huge/],
      ['a list is none', { ...good, evidences: {} }, /not an array/],
      ['a profile is not named', { ...good, metadata: { ...metadata, profiles: [] } }, /needs the profile/],
      ['the type does not fit the activity', { ...good, type_uid: 200_403 }, /^type_uid/],
      ['an attack names nothing', { ...good, finding_info: { ...info, attacks: [{}] } }, /none of tactic/],
      [
        'an address is none',
        { ...good, evidences: [{ src_endpoint: { ip: 'x' } }] },
        /evidences\.src_endpoint\.ip: is not a ip_t/,
      ],
      [
        'a port is out of range',
        { ...good, evidences: [{ src_endpoint: { ip: '1.2.3.4', port: 70_000 } }] },
        /out of range/,
      ],
    ];
    for (const [name, event, expected] of faults) {
      const problems = schema.checkDetectionFinding(event);
      assert.ok(
        problems.some((problem) => expected.test(problem)),
        `${name}: ${problems.join('; ')}`,
      );
    }
  });

  test('says observed where nothing was done, ML as analytic, and the technique with its parent', () => {
    const event = ocsfOf(first({ sourceAddress: '203.0.113.9' })) as {
      action_id: number;
      finding_info: { analytic: { type_id: number }; attacks: unknown[] };
    };
    assert.equal(event.action_id, 3);
    assert.equal(event.finding_info.analytic.type_id, 4);
    assert.deepEqual(event.finding_info.attacks, [
      {
        technique: { uid: 'T1595', name: 'Active Scanning' },
        sub_technique: { uid: 'T1595.001', name: 'Scanning IP Blocks' },
        tactic: { uid: 'TA0043', name: 'Reconnaissance' },
      },
    ]);
  });
});

suite('EVE', () => {
  test('is an alert as Suricata writes it', () => {
    const { ai_guardian: own, ...event } = eveOf(first());
    assert.deepEqual(event, {
      timestamp: '2026-01-01T00:00:00.500000+0000',
      event_type: 'alert',
      src_ip: '10.0.0.5',
      src_port: 40_000,
      dest_ip: '10.0.0.9',
      dest_port: 22,
      proto: 'TCP',
      alert: {
        action: 'allowed',
        gid: 0,
        signature_id: 0,
        rev: 1,
        signature: 'AI Guardian Port scan',
        category: 'port-scan',
        severity: 2,
        metadata: {
          mitre_technique_id: ['T1046'],
          mitre_technique_name: ['Network Service Discovery'],
          mitre_tactic_id: ['TA0007'],
          mitre_tactic_name: ['Discovery'],
        },
      },
      flow: { start: '2026-01-01T00:00:00.000000+0000' },
    });
    assert.equal((own as { flows: number }).flows, 4);
  });

  test('has no ports where the protocol has none', () => {
    const event = eveOf(first({ protocol: 1 }, { kind: 'exfiltration' }));
    assert.equal(event.proto, 'ICMP');
    assert.ok(!('src_port' in event) && !('dest_port' in event));
  });
});

suite('CEF', () => {
  test('is one line with header and extension', () => {
    assert.equal(
      formatCef(first()),
      `CEF:0|AI Guardian|AI Guardian|${PRODUCT.version}|port-scan|Port scan|5|` +
        'rt=1780272000000 start=1767225600000 end=1767225600500 src=10.0.0.5 spt=40000 dst=10.0.0.9 dpt=22 ' +
        'proto=TCP cnt=4 act=vetoed externalId=uid-1 cat=Discovery cs1Label=ATT&CK technique cs1=T1046 ' +
        'cs2Label=model cs2=flow@1.0.0 cs3Label=activity cs3=create cfp1Label=probability cfp1=0.98 ' +
        'reason=no completed handshake shows that the source address is genuine',
    );
  });

  test('puts IPv6 into the fields made for it', () => {
    const line = formatCef(first({ sourceAddress: '2001:db8::5', destinationAddress: '2001:db8::9' }));
    assert.match(line, / c6a2Label=Source IPv6 Address c6a2=2001:db8::5 /);
    assert.match(line, / c6a3Label=Destination IPv6 Address c6a3=2001:db8::9 /);
    assert.doesNotMatch(line, / src=| dst=/);
  });

  test('lets no value end a header field or forge a key', () => {
    const line = formatCef(first({ sourceAddress: 'x|9|act=block\\' }, { kind: 'a|b\\|c' }));
    assert.match(line, /\|a\\\|b\\\\\\\|c\|Suspicious traffic\|5\|/);
    assert.match(line, / src=x\|9\|act\\=block\\\\ /);
  });
});

suite('the readable line', () => {
  test('says what, from where to where, how often, how sure, and what came of it', () => {
    const [created, updated] = lifeOf();
    assert.equal(
      formatLine(created as Detection),
      '2026-01-01T00:00:00.500Z MEDIUM port-scan 10.0.0.5 -> 10.0.0.9 (port 22): 4 flows, P 0.980, T1046, ' +
        'vetoed: no completed handshake shows that the source address is genuine',
    );
    assert.match(formatLine(updated as Detection), / MEDIUM \[update\] port-scan .* 12 flows, /);
  });

  test('counts hosts and ports where they are many', () => {
    const detection = first();
    const many = { ...detection.destination, addressCount: 12, portCount: 80 };
    const line = formatLine({ ...detection, flows: 1, destination: many, suppressedBy: 'a "rule"' });
    assert.match(line, /-> 10\.0\.0\.9 and 11 more hosts \(80 ports\): 1 flow,/);
    const flood = { ...detection.source, addressCount: 1_024 };
    assert.match(
      formatLine({ ...detection, source: flood }),
      / 10\.0\.0\.5 and at least 1023 more hosts -> /,
    );
    assert.match(line, /\(silenced by "a \\"rule\\""\)$/);
  });
});

suite('hostile names', () => {
  const formats = { formatOcsf, formatEve, formatCef, formatLine };
  for (const [name, format] of Object.entries(formats)) {
    test(`stay text in ${name}, on one line`, () => {
      for (const hostile of HOSTILE) {
        const text = format(
          first(
            { sourceAddress: hostile, destinationAddress: hostile },
            { kind: hostile, topFeatures: [{ column: hostile, value: 1, contribution: 1 }] },
          ),
        );
        assert.doesNotMatch(text, ACTIVE, JSON.stringify(hostile).slice(0, 40));
        assert.ok(text.length < 20_000);
        if (text.startsWith('{')) assert.equal(JSON.stringify(JSON.parse(text)), text);
      }
    });
  }

  test('are escaped so that no active character is left, whatever they are', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 400 }), (text) => {
        assert.doesNotMatch(escapeWire(text), ACTIVE);
        assert.doesNotMatch(escapeQuoted(text), /[^\S ]|(?<!\\)(\\\\)*"/u);
      }),
    );
  });

  test('can be told from what was escaped', () => {
    assert.notEqual(escapeWire('\n'), escapeWire('\\u{a}'));
    assert.equal(escapeWire('plain.example-1 ü 网'), 'plain.example-1 ü 网');
  });
});

test('findings name the version of the package', () => {
  const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  assert.equal(PRODUCT.version, manifest.version);
});
