import { armFaultPoints } from '../../src/base/index.ts';
import { type House, makeCandidate, openHouse } from '../support/registry-fixture.ts';

/**
 * Run as a process of its own: `change-registry.ts FOLDER TASK KILL_AT`. Does the task and kills itself, as `kill -9`
 * would, at the fault point that is passed as number KILL_AT; with -1 it lives and prints the points' names as JSON.
 */
const [folder = '', task = '', killAt = '-1'] = process.argv.slice(2);
const passed: string[] = [];

function arm(): void {
  armFaultPoints((name) => {
    if (passed.length === Number(killAt)) process.kill(process.pid, 'SIGKILL');
    passed.push(name);
  });
}

const by = { principal: 'ada' };
let house: House;
switch (task) {
  case 'publish-and-promote':
    house = await openHouse(folder);
    arm();
    await house.registry.publish(makeCandidate({ seed: 2 }), by);
    await house.registry.promote('flow', '1.1.0', 'champion', by);
    break;
  case 'recover':
    arm();
    house = await openHouse(folder);
    break;
  default:
    throw new TypeError(`no task is named ${task}`);
}
armFaultPoints(undefined);
await house.close();
process.stdout.write(JSON.stringify(passed));
