import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { ManualClock } from '../../base/index.ts';
import { Admission, type Pressure, type Waiting } from './admission.ts';
import type { Priority, Refusal } from './refusal.ts';

function setUp(options: { readonly maxRequests?: number; readonly workers?: number } = {}) {
  const clock = new ManualClock(1_000);
  const state = { pressure: 'none' as Pressure };
  const admission = new Admission({
    ...{ clock, maxRequests: 64, workers: 1, ...options },
    pressure: () => state.pressure,
  });
  const log: string[] = [];
  const enter = (name: string, priority: Priority = 'live'): undefined | Waiting | Refusal => {
    const result = admission.enter(priority, (refusal) => log.push(`${name} ${refusal?.reason ?? 'in'}`));
    if (result === undefined) log.push(`${name} in`);
    else if ('reason' in result) log.push(`${name} ${result.reason}`);
    return result;
  };
  return { admission, clock, state, log, enter };
}

suite('admission', () => {
  test('lets in what there is room for, makes the next wait, and refuses what is over', () => {
    const { admission, log, enter } = setUp({ maxRequests: 2 });
    enter('a');
    enter('b');
    const refused = enter('c');
    assert.deepEqual(log, ['a in', 'b in', 'c concurrency']);
    assert.ok(refused !== undefined && 'retryAfterMs' in refused && refused.retryAfterMs === 1_000);
    admission.leave('live');
    enter('d');
    assert.equal(log.at(-1), 'd in');
  });

  test('lets live work in before batch work, nine to one', () => {
    const { admission, log, enter } = setUp({ maxRequests: 200 });
    for (let i = 0; i < 20; i++) enter('first');
    for (let i = 0; i < 40; i++) enter('batch', 'batch');
    for (let i = 0; i < 80; i++) enter('live');
    log.length = 0;
    for (let i = 0; i < 50; i++) admission.leave('live');
    const turns = log.filter((line) => line.endsWith(' in')).map((line) => line.split(' ')[0]);
    const batch = turns.filter((name) => name === 'batch').length;
    assert.ok(
      turns.length >= 45 && batch >= turns.length / 10 - 1 && batch <= turns.length / 10 + 1,
      `${batch}`,
    );
  });

  test('gives up batch work for live work where there is no room to wait', () => {
    const { log, enter } = setUp({ maxRequests: 21 });
    for (let i = 0; i < 20; i++) enter('first');
    enter('batch', 'batch');
    enter('live');
    assert.deepEqual(log.slice(20), ['batch priority']);
    enter('other', 'batch');
    assert.equal(log.at(-1), 'other concurrency');
  });

  test('sheds the lowest priority first where the queue stands', () => {
    const { admission, clock, log, enter } = setUp({ maxRequests: 500 });
    for (let i = 0; i < 20; i++) enter('first');
    for (let i = 0; i < 40; i++) enter('batch', 'batch');
    for (let i = 0; i < 100; i++) enter('live');
    for (let i = 0; i < 60; i++) {
      clock.advance(10);
      admission.leave('live');
    }
    const shed = log.filter((line) => line.endsWith('queue-delay'));
    assert.ok(shed.length > 3, `${shed.length}`);
    assert.ok(shed.every((line) => line.startsWith('batch')));
  });

  test('refuses batch work first and live work last when the machine is short', () => {
    const { admission, state, log, enter } = setUp({ maxRequests: 64 });
    state.pressure = 'slow-batch';
    enter('first', 'batch');
    enter('second', 'batch');
    enter('live');
    assert.deepEqual(log, ['first in', 'live in']);
    admission.leave('batch');
    assert.equal(log.at(-1), 'second in');
    state.pressure = 'shed';
    enter('third', 'batch');
    enter('last');
    assert.deepEqual(log.slice(-2), ['third throttled', 'last in']);
    while (admission.underWay < admission.limit) enter('more');
    enter('over');
    assert.equal(log.at(-1), 'over throttled');
  });

  test('says when to come again by how fast answers leave', () => {
    const { admission, clock, enter } = setUp({ maxRequests: 2 });
    for (let i = 0; i < 5_000; i++) {
      enter('a');
      clock.advance(2);
      admission.leave('live');
    }
    enter('a');
    enter('b');
    const refused = enter('c');
    assert.ok(refused !== undefined && 'retryAfterMs' in refused && refused.retryAfterMs === 10);
  });

  test('settles each one once and loses none, whatever comes and goes', () => {
    const step = fc.oneof(
      fc.constantFrom<Priority>('live', 'batch').map((priority) => ({ do: 'enter', priority }) as const),
      fc.constant({ do: 'leave' } as const),
      fc.integer({ min: 0, max: 30 }).map((ms) => ({ do: 'wait', ms }) as const),
      fc
        .constantFrom<Pressure>('none', 'slow-batch', 'shed')
        .map((pressure) => ({ do: 'press', pressure }) as const),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const { admission, clock, state } = setUp({ maxRequests: 30 });
        const settled: number[] = [];
        const inside: Priority[] = [];
        for (const each of steps) {
          if (each.do === 'wait') clock.advance(each.ms);
          else if (each.do === 'press') state.pressure = each.pressure;
          else if (each.do === 'leave') {
            const priority = inside.shift();
            if (priority !== undefined) admission.leave(priority);
          } else {
            const id = settled.push(0) - 1;
            const note = (refusal: Refusal | undefined) => {
              settled[id] = (settled[id] as number) + 1;
              if (refusal === undefined) inside.push(each.priority);
            };
            const result = admission.enter(each.priority, note);
            if (result === undefined || 'reason' in result) note(result);
          }
          assert.ok(admission.underWay + admission.waiting <= 30);
          assert.equal(admission.underWay, inside.length);
        }
        state.pressure = 'none';
        while (inside.length > 0) admission.leave(inside.shift() as Priority);
        assert.equal(admission.waiting, 0);
        assert.ok(
          settled.every((times) => times === 1),
          settled.join(),
        );
      }),
      { seed: 6, numRuns: 200 },
    );
  });
});
