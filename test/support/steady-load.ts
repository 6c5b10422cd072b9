import assert from 'node:assert/strict';
import { setTimeout as wait } from 'node:timers/promises';
import type { Answer, FaultHouse } from './fault-house.ts';

/** A little of everything, all the time: a lane that scores and a lane that sends flows, each a request at once. */
export class SteadyLoad {
  readonly answers: Answer[] = [];
  /** Findings that an answer of 200 told of. */
  readonly acknowledged = new Set<string>();
  readonly #house: FaultHouse;
  readonly #lanes: Promise<void>[];
  readonly #waiting = new Set<(answer: Answer) => void>();
  #isStopped = false;
  #sources = 0;

  constructor(house: FaultHouse, options: { readonly rows?: number; readonly model?: string } = {}) {
    this.#house = house;
    const { rows = 1, model = 'flow' } = options;
    this.#lanes = [
      this.#run(() => house.infer(rows, model)),
      this.#run(() => {
        const n = this.#sources++;
        return house.event(`198.18.${(n >> 8) & 255}.${n & 255}`);
      }),
    ];
    house.beforeStop(() => this.stop());
  }

  /** The first answer from now on that is as wanted; fails where so many others come before. */
  next(what: Answer['what'], isWanted: (answer: Answer) => boolean, within = 2_000): Promise<Answer> {
    return new Promise((resolve, reject) => {
      let others = 0;
      const see = (answer: Answer) => {
        if (answer.what !== what) return;
        if (!isWanted(answer) && ++others < within) return;
        this.#waiting.delete(see);
        if (others < within) resolve(answer);
        else
          reject(
            new assert.AssertionError({ message: `none of ${within} answers, the last ${say(answer)}` }),
          );
      };
      this.#waiting.add(see);
    });
  }

  /** So many answers of each kind from now on. */
  async some(n = 5): Promise<void> {
    await Promise.all(
      (['infer', 'event'] as const).map((what) => {
        let left = n;
        return this.next(what, () => --left === 0);
      }),
    );
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all(this.#lanes);
  }

  /** Every answer by kind, status and code, with how many there were. */
  tally(): Readonly<Record<string, number>> {
    const counts: Record<string, number> = {};
    for (const answer of this.answers) counts[say(answer)] = (counts[say(answer)] ?? 0) + 1;
    return counts;
  }

  /** Every finding that was acknowledged is in the database. */
  async assertKept(): Promise<void> {
    assert.ok(this.acknowledged.size > 0);
    for (const uid of this.acknowledged) {
      assert.ok((await this.#house.guardian.detections.find(uid)) !== undefined, `finding ${uid} was lost`);
    }
  }

  async #run(ask: () => Promise<Answer>): Promise<void> {
    while (!this.#isStopped) {
      const answer = await ask();
      this.answers.push(answer);
      if (answer.status === 200) {
        for (const { uid } of (answer.body.detections ?? []) as readonly { uid: string }[])
          this.acknowledged.add(uid);
      }
      for (const see of [...this.#waiting]) see(answer);
      // The pace of the load, not a wait for something.
      await wait(2);
    }
  }
}

function say({ what, status, body }: Answer): string {
  return [what, status, body.code].filter((each) => each !== undefined).join(' ');
}
