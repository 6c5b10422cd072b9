/** One thing a campaign holds the product to. */
export interface Bar {
  readonly bar: string;
  readonly got: string;
  readonly passed: boolean;
}

/**
 * Ends a campaign: its rows as a table and a verdict a bar, or all of it as one JSON object; the exit code says whether every bar
 * was met.
 */
export function printVerdict(
  name: string,
  result: { readonly rows: readonly Readonly<Record<string, string | number>>[] } & Readonly<
    Record<string, unknown>
  >,
  bars: readonly Bar[],
  isJson: boolean,
): void {
  const passed = bars.every((each) => each.passed);
  if (!passed) process.exitCode = 1;
  if (isJson) {
    process.stdout.write(`${JSON.stringify({ type: 'campaign.result', name, ...result, bars, passed })}\n`);
    return;
  }
  const { rows, ...facts } = result;
  for (const [fact, value] of Object.entries(facts))
    process.stdout.write(`${fact}: ${JSON.stringify(value)}\n`);
  const names = Object.keys(rows[0] ?? {});
  const line = (cells: readonly unknown[]) => process.stdout.write(`| ${cells.join(' | ')} |\n`);
  line(names);
  line(names.map(() => '---'));
  for (const row of rows) line(names.map((each) => row[each] ?? ''));
  for (const { bar, got, passed: isMet } of bars) {
    process.stdout.write(`${isMet ? 'met    ' : 'NOT MET'} ${bar}: ${got}\n`);
  }
}
