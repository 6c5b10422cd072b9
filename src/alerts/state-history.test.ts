import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { Detection } from './detection.ts';
import { StateHistory } from './state-history.ts';

const state = (uid: number) => ({ uid: String(uid) }) as Detection;
const uids = (states: readonly Detection[] | undefined) => states?.map(({ uid }) => Number(uid));

suite('the states told last', () => {
  test('are told again from behind the one that was had', () => {
    const history = new StateHistory(4);
    const told = [0, 1, 2].map(state);
    for (const each of told) history.add(each);
    assert.deepEqual(uids(history.since(history.idOf(told[0] as Detection))), [1, 2]);
    assert.deepEqual(history.since(history.idOf(told[2] as Detection)), []);
  });

  test('are not told where some of them are gone, or where the number is of another process', () => {
    const history = new StateHistory(4);
    const told = [0, 1, 2, 3, 4, 5].map(state);
    for (const each of told) history.add(each);
    const idOf = (at: number) => history.idOf(told[at] as Detection);
    assert.deepEqual(uids(history.since(idOf(1))), [2, 3, 4, 5]);
    assert.equal(history.since(idOf(0)), undefined, 'the state behind it is gone');
    const other = new StateHistory(4);
    for (const each of told) other.add(each);
    assert.equal(history.since(other.idOf(told[5] as Detection)), undefined);
    const [name] = idOf(5).split('-');
    for (const id of [
      '',
      '5',
      `${name}-6`,
      `${name}--1`,
      `${name}-5\n`,
      `${name}-1e1`,
      `${name}-999999999999999`,
    ]) {
      assert.equal(history.since(id), undefined, JSON.stringify(id));
    }
  });
});
