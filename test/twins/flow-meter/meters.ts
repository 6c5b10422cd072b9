import type { MakeMeter } from './meter.ts';
import { NaiveFlowMeter } from './naive-flow-meter.ts';

/** The meters that the same tests run over. */
export const METERS: readonly (readonly [string, MakeMeter])[] = [
  ['the twin', (options, counters) => new NaiveFlowMeter(options, counters)],
];
