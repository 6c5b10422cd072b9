import { armFaultPoints } from '../../src/base/index.ts';
import { openHouse } from '../support/registry-fixture.ts';

/**
 * Run as a process of its own: `change-keys.ts FOLDER rotate|revoke KILL_AT`. Changes the wrapping key and kills itself
 * at the fault point that is passed as number KILL_AT; with -1 it lives and prints the points' names as JSON.
 */
const [folder = '', task = '', killAt = '-1'] = process.argv.slice(2);
const passed: string[] = [];
const by = { principal: 'ada' };

const house = await openHouse(folder);
const { id } = await house.keys.active('wrapping');
armFaultPoints((name) => {
  if (passed.length === Number(killAt)) process.kill(process.pid, 'SIGKILL');
  passed.push(name);
});
if (task === 'rotate') await house.registry.rotateKey('wrapping', by);
else await house.registry.revokeKey(id, by);
armFaultPoints(undefined);
await house.close();
process.stdout.write(JSON.stringify(passed));
