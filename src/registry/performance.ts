import type { GateReport } from './gate-report.ts';

/** One figure of a gate report, with its interval where the report has one. */
export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly low?: number;
  readonly high?: number;
}

/** The figures among a report's metrics, by name: plain numbers, and `{value, low, high}`. Others are left out. */
export function figuresOf(report: GateReport): readonly Figure[] {
  return Object.entries(report.metrics)
    .flatMap(([name, metric]): Figure[] => {
      if (typeof metric === 'number') return [{ name, value: metric }];
      if (typeof metric !== 'object' || metric === null || !('value' in metric)) return [];
      const { value, low, high } = metric as Readonly<Record<string, unknown>>;
      if (typeof value !== 'number') return [];
      return [{ name, value, ...(typeof low === 'number' && typeof high === 'number' ? { low, high } : {}) }];
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}
