import type { BinaryMetrics, Interval } from '../models/index.ts';
import type { GateReport } from '../registry/index.ts';
import { figure, printable, table } from './text.ts';

/** The metrics that are reported, in the order people read them. */
export const METRIC_NAMES = ['accuracy', 'precision', 'recall', 'f1', 'fpr', 'auc'] as const;

/** Metrics without the confusion counts, for a result line. */
export function metricsOf(metrics: BinaryMetrics): Record<(typeof METRIC_NAMES)[number], Interval> {
  const { confusion: _, ...rest } = metrics;
  return rest;
}

/** A table of metrics with their 95 % intervals. */
export function metricsTable(metrics: BinaryMetrics): string {
  return table(
    ['metric', 'value', '95 % interval'],
    METRIC_NAMES.map((name) => {
      const { value, low, high } = metrics[name];
      return [name, value.toFixed(4), `${low.toFixed(4)} to ${high.toFixed(4)}`];
    }),
  );
}

/** The gates of a report, with the number each compared, and those that could not be run. */
export function gatesTable(report: GateReport): string {
  const shown = table(
    ['gate', 'value', '95 % interval', 'wanted', 'passed', ''],
    report.gates.map((gate) => [
      printable(gate.name, 40),
      figure(gate.value),
      gate.low === undefined || gate.high === undefined
        ? ''
        : `${gate.low.toFixed(4)} to ${gate.high.toFixed(4)}`,
      `${gate.comparison} ${gate.threshold}`,
      gate.passed ? 'yes' : 'NO',
      printable(gate.detail ?? '', 140),
    ]),
  );
  const skipped = (report.skipped ?? []).map(
    ({ name, reason }) => `not run: ${printable(name, 40)}: ${printable(reason)}`,
  );
  return [shown, ...skipped].join('\n');
}
