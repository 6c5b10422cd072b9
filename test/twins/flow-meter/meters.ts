import { FlowMeter } from '../../../src/traffic/meter/flow-meter.ts';
import type { MakeMeter } from './meter.ts';
import { NaiveFlowMeter } from './naive-flow-meter.ts';

export const makeKernel: MakeMeter = (options, counters) => new FlowMeter(options, counters);

/** The meters that the same tests run over. */
export const METERS: readonly (readonly [string, MakeMeter])[] = [
  ['the kernel', makeKernel],
  ['the twin', (options, counters) => new NaiveFlowMeter(options, counters)],
];
