import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { ManualClock, type Milliseconds } from '../../base/index.ts';
import { type Priority, SOJOURN_DEFAULTS } from '../../inference/index.ts';
import { SERVER_LIMITS } from '../limits.ts';
import { LoadShedder, type Queued, type ShedReason } from './load-shedder.ts';

interface Request {
  readonly priority: Priority;
  readonly arrivedAt: Milliseconds;
}

/** A server whose answers cost time and whose clock stands otherwise; `look` reads the sockets once and lets the turn end. */
function setUp(costMs = 1) {
  const clock = new ManualClock(1_000);
  const shed: string[] = [];
  const waits: Record<Priority, Milliseconds[]> = { live: [], batch: [] };
  const counts = { sent: 0, answered: 0, refused: 0 };
  let turns: (() => void)[] = [];
  const shedder = new LoadShedder({
    clock,
    afterRead: (then) => turns.push(then),
    onShed: (reason, priority, count) => {
      for (let i = 0; i < count; i++) shed.push(`${priority} ${reason}`);
    },
  });
  const answers: (() => void)[] = [];

  class Connection implements Queued {
    next: Queued | undefined;
    readonly requests: Request[] = [];
    isWaiting = false;
    #isBusy = false;

    get priority(): Priority {
      return this.requests[0]?.priority ?? 'live';
    }
    get arrivedAt(): Milliseconds {
      return this.requests[0]?.arrivedAt ?? 0;
    }

    get hasMore(): boolean {
      return this.requests.length > 1;
    }

    send(priority: Priority, times = 1): void {
      const arrivedAt = shedder.readableSince();
      for (let i = 0; i < times; i++) this.requests.push({ priority, arrivedAt });
      counts.sent += times;
      if (!this.isWaiting && !this.#isBusy) this.#offer();
    }
    pass(): void {
      this.isWaiting = false;
      this.#isBusy = true;
      const { priority, arrivedAt } = this.requests.shift() as Request;
      waits[priority].push(clock.monotonic() - arrivedAt);
      answers.push(() => {
        clock.advance(costMs);
        counts.answered++;
        this.#isBusy = false;
        this.#offer();
        shedder.freed();
      });
    }
    refuse(_: ShedReason, isRefused: (queued: Queued) => boolean): number {
      this.isWaiting = false;
      let refused = 0;
      do {
        this.requests.shift();
        refused++;
      } while (this.requests.length > 0 && isRefused(this));
      counts.refused += refused;
      this.#offer();
      return refused;
    }
    #offer(): void {
      if (this.requests.length === 0) return;
      if (shedder.offer(this)) this.pass();
      else this.isWaiting = true;
    }
  }

  /** Answers what is on its way, then ends the turn. */
  const look = (): void => {
    settle();
    const due = turns;
    turns = [];
    for (const then of due) then();
    settle();
  };
  const settle = (): void => {
    for (let answer = answers.shift(); answer !== undefined; answer = answers.shift()) answer();
  };
  const drain = (): void => {
    for (let i = 0; i < 100_000 && counts.sent > counts.answered + counts.refused; i++) look();
  };
  const connections = (count: number) => Array.from({ length: count }, () => new Connection());
  return { clock, shedder, shed, waits, counts, look, settle, drain, connections };
}

suite('shedding of load', () => {
  test('lets everything on at once while there is time', () => {
    const { clock, shed, counts, look, settle, connections, shedder } = setUp();
    const [one] = connections(1);
    for (let i = 0; i < 500; i++) {
      one?.send('live');
      settle();
      assert.equal(shedder.waiting, 0);
      clock.advance(1);
      look();
    }
    assert.deepEqual([counts.answered, shed.length], [500, 0]);
  });

  test('serves a burst that drains, however late', () => {
    const { shed, counts, drain, connections } = setUp();
    for (const each of connections(90)) each.send('live');
    drain();
    assert.deepEqual([counts.answered, shed.length], [90, 0]);
  });

  test('answers in time what it answers, at five times what it can do', () => {
    const { clock, shed, waits, counts, look, connections, drain } = setUp();
    const all = connections(64);
    let at = 0;
    for (let began = clock.monotonic(), due = began; clock.monotonic() < began + 3_000; look()) {
      if (clock.monotonic() === due) clock.advance(1);
      for (; due < clock.monotonic(); due++) for (let i = 0; i < 5; i++) all[at++ % 64]?.send('live');
    }
    const late = waits.live
      .slice(500)
      .filter((wait) => wait > SOJOURN_DEFAULTS.targetMs + 2 * SERVER_LIMITS.turnMs);
    assert.equal(late.length, 0);
    assert.ok(counts.answered > 2_700, `${counts.answered} of 3000 ms`);
    drain();
    assert.equal(counts.answered + counts.refused, counts.sent);
    assert.equal(shed.length, counts.refused);
  });

  test('refuses no live work while there is batch work to refuse, and says why', () => {
    const { clock, shed, waits, look, connections } = setUp();
    const live = connections(16);
    const batch = connections(48);
    let at = 0;
    for (let began = clock.monotonic(), due = began; clock.monotonic() < began + 2_000; look()) {
      if (clock.monotonic() === due) clock.advance(1);
      for (; due < clock.monotonic(); due++) {
        if (due % 2 === 0) live[at % 16]?.send('live');
        batch[at++ % 48]?.send('batch', 4);
      }
    }
    assert.deepEqual([...new Set(shed)], ['batch queue-delay']);
    assert.ok(waits.live.length > 900 && waits.batch.length > 300);
  });

  test('gives up batch work at once where live work stands', () => {
    const { clock, shed, look, connections, shedder } = setUp();
    const live = connections(32);
    const [batch] = connections(1);
    for (let i = 0; i < 60; i++) {
      for (const each of live) each.send('live', 2);
      batch?.send('batch');
      clock.advance(1);
      look();
    }
    assert.ok(shed.includes('batch priority') && shed.includes('live queue-delay'));
    assert.ok(shedder.retryAfterS >= 1 && shedder.retryAfterS <= 30);
  });

  test('passes or refuses each one once, whatever comes', () => {
    const step = fc.record({
      connection: fc.integer({ min: 0, max: 7 }),
      priority: fc.constantFrom<Priority>('live', 'batch'),
      times: fc.integer({ min: 1, max: 12 }),
      gap: fc.integer({ min: 0, max: 5 }),
      looks: fc.integer({ min: 0, max: 2 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const { clock, counts, shed, look, drain, connections } = setUp(3);
        const all = connections(8);
        for (const { connection, priority, times, gap, looks } of steps) {
          all[connection]?.send(priority, times);
          clock.advance(gap);
          for (let i = 0; i < looks; i++) look();
        }
        drain();
        assert.equal(counts.answered + counts.refused, counts.sent);
        assert.equal(shed.length, counts.refused);
      }),
      { seed: 6, numRuns: 150 },
    );
  });
});
