import { join } from 'node:path';
import { armFaultPoints, ManualClock } from '../../src/base/index.ts';
import { openDirectoryBlobStore } from '../../src/storage/index.ts';
import { type House, openHouse } from '../support/registry-fixture.ts';

/** Two years after the versions were published: no rule but the numbers keeps them. */
const LATER = Date.UTC(2028, 0, 1);

export type CustodyTask = 'erase' | 'prune' | 'recover';

/** What happens at the fault points that are passed. */
export type Fault = (name: string) => void;

export async function openLater(folder: string): Promise<House> {
  const escrow = await openDirectoryBlobStore(join(folder, 'escrow'));
  return await openHouse(folder, new ManualClock(LATER), { escrow });
}

/** Does the task with `fault` armed and closes the house whatever happens; rejects with what the task threw. */
export async function changeCustody(folder: string, task: CustodyTask, fault: Fault): Promise<void> {
  if (task === 'recover') armFaultPoints(fault);
  const house = await openLater(folder).finally(() => armFaultPoints(undefined));
  try {
    armFaultPoints(fault);
    const by = { principal: 'ada' };
    if (task === 'erase') await house.registry.custody.erase('flow', '1.0.0', { reason: 'test' }, by);
    if (task === 'prune') await house.registry.custody.prune('flow', { keep: 1, keepDays: 0 }, by);
  } finally {
    armFaultPoints(undefined);
    await house.close().catch(() => {});
  }
}
