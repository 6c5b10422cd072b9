import { relative } from 'node:path';
import { inspect } from 'node:util';

/** Files under this share of covered lines are listed one by one. */
const LISTED_BELOW = 85;

/**
 * A line a test file, then what failed in full, what was skipped and why, the coverage, and the runner's
 * own totals last.
 */
export default async function* report(events) {
  const failures = [];
  const skipped = [];
  const closing = [];
  const path = [];
  let coverage;
  for await (const { type, data } of events) {
    if (type === 'test:start') {
      path[data.nesting] = data.name;
    } else if (type === 'test:pass' && data.skip !== undefined && data.skip !== false) {
      skipped.push(`${where(data)} ${data.name}${typeof data.skip === 'string' ? `: ${data.skip}` : ''}`);
    } else if (type === 'test:fail' && data.details.error?.failureType !== 'subtestsFailed') {
      failures.push(failure(data, [...path.slice(0, data.nesting), data.name]));
    } else if (type === 'test:stdout' || type === 'test:stderr') {
      yield data.message;
    } else if (type === 'test:summary' && data.file !== undefined) {
      yield fileLine(data);
    } else if (type === 'test:coverage') {
      coverage = data.summary;
    } else if (type === 'test:diagnostic' && data.nesting === 0 && data.file === undefined) {
      closing.push(data);
    }
  }
  for (const text of failures) yield text;
  if (skipped.length > 0) yield `\nskipped:\n${skipped.map((line) => `  ﹣ ${line}\n`).join('')}`;
  if (coverage !== undefined) yield coverageLines(coverage);
  yield '\n';
  // The threshold's message is an error among the notes; the totals close the output.
  const isTotal = ({ message }) =>
    /^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) /.test(message);
  for (const note of closing.filter((entry) => !isTotal(entry))) yield `ℹ ${note.message}\n`;
  for (const note of closing.filter(isTotal)) yield `ℹ ${note.message}\n`;
}

function fileLine({ file, counts, duration_ms: duration, success }) {
  const parts = [`${counts.tests} tests`];
  if (counts.tests !== counts.passed) {
    if (counts.failed > 0) parts.push(`${counts.failed} failed`);
    if (counts.skipped > 0) parts.push(`${counts.skipped} skipped`);
    if (counts.cancelled > 0) parts.push(`${counts.cancelled} cancelled`);
  }
  return `${success ? '✔' : '✖'} ${relative(process.cwd(), file)}: ${parts.join(', ')} (${Math.round(duration)} ms)\n`;
}

function failure(data, names) {
  const { error } = data.details;
  const cause = error?.cause ?? error;
  const text = describe(cause);
  return `\n✖ ${names.join(' > ')}\n  ${where(data)}\n${text.replace(/^/gm, '  ')}\n`;
}

/** An assertion's stack holds its message and difference already; its fields would repeat them. */
function describe(cause) {
  if (typeof cause === 'string') return cause;
  if (cause?.code === 'ERR_ASSERTION' && cause.cause === undefined) return cause.stack;
  return inspect(cause, { depth: 6, breakLength: 100 });
}

function where({ file, line }) {
  if (file === undefined) return '';
  return `${relative(process.cwd(), file)}${line === undefined ? '' : `:${line}`}`;
}

function coverageLines({ files, totals }) {
  const low = files.filter((file) => file.coveredLinePercent < LISTED_BELOW);
  const rows = low.map(({ path, coveredLinePercent }) => {
    return `  ${coveredLinePercent.toFixed(1).padStart(5)} % ${relative(process.cwd(), path)}\n`;
  });
  const line = [
    `lines ${totals.coveredLinePercent.toFixed(2)} %`,
    `branches ${totals.coveredBranchPercent.toFixed(2)} %`,
    `functions ${totals.coveredFunctionPercent.toFixed(2)} %`,
  ];
  return `\ncoverage of src/: ${line.join(', ')}\n${rows.length > 0 ? `  below ${LISTED_BELOW} %:\n` : ''}${rows.join('')}`;
}
