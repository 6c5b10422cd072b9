import { canonicalJson } from '../crypto/index.ts';
import type { Lineage } from './lineage.ts';
import { figuresOf } from './performance.ts';
import type { VersionRecord } from './records.ts';

/**
 * A model card in Markdown, from the signed manifest, the gate report, the schema and the audit log; the same version
 * gives the same text as long as no alias moves. Whatever somebody typed is escaped.
 */
export function modelCard(record: VersionRecord, lineage: Lineage): string {
  const { manifest, gates, schema } = record;
  const { parent, predecessor, replaced, replacedBy } = lineage;
  return `${[
    `# ${manifest.name} ${manifest.version}`,
    'Says how likely a flow or an event is part of an attack. Gradient-boosted decision trees, trained with labels.',
    '## Identity',
    table(
      ['what', 'value'],
      [
        ['weights', code(manifest.weights.digest)],
        ['size', `${manifest.weights.size} bytes`],
        ['schema', `${code(manifest.schemaId)}, ${schema.columns.length} columns`],
        ['manifest', code(record.publication.manifestDigest)],
        ['signature', code(`sha256:${record.signatureDigest}`)],
        ['published', `${manifest.createdAt} by ${escaped(manifest.author)}`],
        ['audit log', `entry ${lineage.intent}`],
      ],
    ),
    '## Intended use',
    `Traffic of the kinds ${manifest.sourceKinds.map(escaped).join(', ')}. The schema decides what an input is; others are refused.`,
    '## Training',
    table(
      ['what', 'value'],
      [
        ['training data', code(manifest.dataDigest)],
        ['trainer', escaped(manifest.trainer)],
        ['seed', String(manifest.seed)],
        ['configuration', code(canonicalJson(manifest.configuration))],
      ],
    ),
    '## Gates',
    `Run on ${code(gates.dataDigest)}: ${gates.passed ? 'all passed' : '**not all passed**'}.`,
    table(
      ['gate', 'result', 'value', 'wanted'],
      gates.gates.map(({ name, passed, value, comparison, threshold }) => [
        escaped(name),
        passed ? 'passed' : '**failed**',
        String(value),
        `${comparison === '>=' ? 'at least' : 'at most'} ${threshold}`,
      ]),
    ),
    '## Figures',
    table(
      ['metric', 'value', '95 % interval'],
      figuresOf(gates).map(({ name, value, low, high }) => [
        escaped(name),
        String(value),
        low === undefined || high === undefined ? '' : `${low} to ${high}`,
      ]),
    ),
    '## Lineage',
    table(
      ['what', 'value'],
      [
        ['champion when it was published', parent?.version ?? 'none'],
        ['published before it', predecessor ?? 'none'],
        ...replaced.map(({ alias, version, time, intent }) => [
          'replaced',
          `${version} as ${alias} on ${time} (entry ${intent})`,
        ]),
        ...replacedBy.map(({ alias, version, time, intent }) => [
          'replaced by',
          `${version} as ${alias} on ${time} (entry ${intent})`,
        ]),
      ],
    ),
    '## Limits',
    [
      '- The figures hold for traffic like the gate data. On another network they have to be measured again.',
      '- A probability is not a permission: only a certificate for the site lets a score act.',
    ].join('\n'),
  ].join('\n\n')}\n`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return 'None.';
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

/** Leaves no character that Markdown or HTML gives a meaning, and no line break. */
function escaped(text: string): string {
  return text
    .replaceAll(/[\p{C}\p{Zl}\p{Zp}]/gu, ' ')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll(/[\\`*_{}[\]()#+!|~$-]/g, (character) => `\\${character}`);
}

/** A code span that its content cannot end: backticks in it become apostrophes, a bar would end the table's cell. */
function code(text: string): string {
  return `\`${text
    .replaceAll(/[\p{C}\p{Zl}\p{Zp}]/gu, ' ')
    .replaceAll('`', "'")
    .replaceAll('|', '\\|')}\``;
}
