import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stateFromFlags } from './state-from-flags.ts';

/** Flags by letter; undefined is a side that did not speak. */
function side(letters: string | undefined) {
  const values: Record<string, number> = { F: 1, S: 2, R: 4, P: 8, A: 16 };
  const tcpFlags = [...(letters ?? '')].reduce((all, letter) => all | (values[letter] ?? 0), 0);
  const packets = letters === undefined ? 0 : 2;
  return { packets, bytes: packets * 40, payloadBytes: Number.NaN, tcpFlags };
}

test('tells the state of a connection by the flags of both sides', () => {
  const table: readonly [string, string | undefined, string][] = [
    ['S', undefined, 'S0'],
    ['S', 'RA', 'REJ'],
    ['SA', 'SA', 'S1'],
    ['SAPF', 'SAPF', 'SF'],
    ['SAPFR', 'SAPF', 'SF'],
    ['SAPF', 'SAP', 'S2'],
    ['SAP', 'SAPF', 'S3'],
    ['SAPR', 'SAP', 'RSTO'],
    ['SAP', 'SAPR', 'RSTR'],
    ['SR', undefined, 'RSTOS0'],
    ['SF', undefined, 'SH'],
    ['PA', 'R', 'RSTRH'],
    ['PA', 'FA', 'SHR'],
    ['PA', 'PA', 'OTH'],
  ];
  for (const [there, back, state] of table) {
    assert.equal(stateFromFlags(6, side(there), side(back)), state, `${there}_${back ?? ''}`);
  }
  assert.equal(stateFromFlags(6, { ...side('S'), tcpFlags: Number.NaN }, side('S')), 'OTH');
  assert.deepEqual(
    [stateFromFlags(17, side(''), side('')), stateFromFlags(17, side(''), side(undefined))],
    ['SF', 'S0'],
  );
});
