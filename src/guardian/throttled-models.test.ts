import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ThrottleState } from '../monitor/index.ts';
import { pressureOnScoring } from './throttled-models.ts';

test('a disk that is full slows batches and refuses no score; what else is short of presses as it does', () => {
  const states: readonly (readonly [ThrottleState, string])[] = [
    [{ level: 'none', causes: [] }, 'none'],
    [{ level: 'slow-batch', causes: ['diskFreeBytes'] }, 'slow-batch'],
    [{ level: 'shed', causes: ['diskFreeBytes'] }, 'slow-batch'],
    [{ level: 'shed', causes: ['diskFreeBytes', 'memoryAvailableBytes'] }, 'shed'],
    [{ level: 'shed', causes: ['eventLoopDelayMs'] }, 'shed'],
  ];
  for (const [state, expected] of states) assert.equal(pressureOnScoring(state), expected);
});
