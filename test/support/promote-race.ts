import assert from 'node:assert/strict';
import { SeededRandom } from '../../src/base/index.ts';
import { Api, socketTransport } from '../../src/cli/api.ts';
import type { AliasChange } from '../../src/registry/index.ts';
import { listenSocket } from '../../src/server/index.ts';
import { flowCandidate, type ServedHouse } from './served-guardian.ts';

export interface RaceResult {
  readonly promotions: number;
  /** How often each client's promotion stood before the other's in a round. */
  readonly firstOfRound: readonly [number, number];
  readonly seconds: number;
}

/**
 * Two clients of one owner promote at once, again and again: each round sends both and waits for both. Every answer must
 * stand in the history exactly once, in one order without a gap, and what is served at the end must be its last word.
 */
export async function racePromotions(house: ServedHouse, promotions: number): Promise<RaceResult> {
  const { guardian, schema } = house;
  await guardian.registry.publish(flowCandidate(schema, 'flow', 1), { principal: 'tester' });
  const before = (await guardian.registry.history('flow')).length;
  const listening = await listenSocket(guardian);
  const clients = ['1.0.0', '1.1.0'].map((version) => ({
    version,
    api: new Api(socketTransport(listening.path)),
  }));
  // Who sends first is drawn: on one machine the second never overtakes the first.
  const random = new SeededRandom(1);
  const answers: AliasChange[] = [];
  const firstOfRound: [number, number] = [0, 0];
  const started = performance.now();
  try {
    for (let round = 0; round < promotions / 2; round++) {
      const inTurn = random.chance(0.5) ? clients : clients.toReversed();
      const both = await Promise.all(
        inTurn.map(
          async ({ api, version }) =>
            (await api.call('POST', '/v1/models/flow/promote', {
              version,
              alias: 'champion',
            })) as AliasChange,
        ),
      );
      const [a, b] = both as [AliasChange, AliasChange];
      const first = a.intent < b.intent ? a : b;
      firstOfRound[first.version === '1.0.0' ? 0 : 1]++;
      answers.push(...both);
    }
  } finally {
    await listening.close();
  }
  const seconds = (performance.now() - started) / 1000;
  const history = (await guardian.registry.history('flow')).slice(before);
  assert.equal(history.length, promotions);
  assert.deepEqual(
    answers.toSorted((a, b) => a.intent - b.intent),
    history,
  );
  for (const [i, move] of history.entries()) {
    const last = history[i - 1];
    assert.ok(move.intent < move.outcome);
    if (last === undefined) continue;
    assert.equal(move.previous, last.version, `move ${i} continues where move ${i - 1} ended`);
    assert.ok(last.outcome < move.intent, `move ${i} began when move ${i - 1} had ended`);
  }
  const last = history.at(-1);
  assert.equal((await guardian.registry.resolve('flow')).version, last?.version);
  assert.equal(guardian.engine.current('flow')?.version, last?.version);
  return { promotions, firstOfRound, seconds };
}
