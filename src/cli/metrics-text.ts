import type { BinaryMetrics, Interval } from '../models/index.ts';
import type { GateReport } from '../registry/index.ts';
import { figure, table } from './text.ts';

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

/** The gates of a report, with the number each compared. */
export function gatesTable(report: GateReport): string {
  return table(
    ['gate', 'value', 'wanted', 'passed'],
    report.gates.map((gate) => [
      gate.name,
      figure(gate.value),
      `${gate.comparison} ${gate.threshold}`,
      gate.passed ? 'yes' : 'NO',
    ]),
  );
}
