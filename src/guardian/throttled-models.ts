import type { Engine } from '../inference/index.ts';
import type { Monitor, ThrottleLevel, ThrottleState } from '../monitor/index.ts';

/** Share of their memory that models which do not serve may keep while memory is short. */
const MEMORY_SHARES: Readonly<Record<ThrottleLevel, number>> = {
  none: 1,
  'slow-training': 0.5,
  'slow-batch': 0.25,
  shed: 0,
};

/** How hard scoring is pressed. It writes nothing: a disk that is full alone is no reason to refuse it. */
export function pressureOnScoring({ level, causes }: ThrottleState): ThrottleState['level'] {
  const isDiskAlone = causes.length > 0 && causes.every((cause) => cause === 'diskFreeBytes');
  return level === 'shed' && isDiskAlone ? 'slow-batch' : level;
}

/**
 * Lets the models follow the machine: while memory is short those that do not serve go, and while it is short of anything
 * two versions are not compared. The returned function ends it.
 */
export function followThrottle(monitor: Pick<Monitor, 'subscribe' | 'throttle'>, engine: Engine): () => void {
  return monitor.subscribe('reading', () => {
    const { level, causes } = monitor.throttle;
    const isMemory = causes.includes('memoryAvailableBytes');
    engine.models.limitMemory(isMemory ? MEMORY_SHARES[level] : 1);
    engine.models.rollouts.pause(level === 'slow-batch' || level === 'shed');
  });
}
