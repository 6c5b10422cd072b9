import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { test } from 'node:test';
import { makeHome } from '../../test/support/cli.ts';
import { armFaultPoints } from '../base/index.ts';
import { CryptoError } from '../crypto/index.ts';
import { openGuardian } from '../guardian/index.ts';
import { listenSocket } from '../server/index.ts';
import type { TrainingRun, TrainingSteps } from '../training/index.ts';
import { createContext } from './context.ts';
import { Output } from './output.ts';
import { withCheckpoints } from './train-checkpoints.ts';

const RUN: TrainingRun = {
  data: `sha256:${'1'.repeat(64)}`,
  schema: `sha256:${'2'.repeat(64)}`,
  configuration: `sha256:${'3'.repeat(64)}`,
  seed: 1,
  trainer: 'test 1',
};

/** A guardian that serves its socket, whose token goes away when told to; and a command beside it. */
async function servedBeside() {
  const home = await makeHome();
  let said = '';
  const stderr = new Writable({
    write: (chunk: Buffer, _, done) => {
      said += chunk.toString();
      done();
    },
  });
  const context = await createContext(
    {},
    {
      output: new Output({ json: false, stdout: new Writable({ write: (_, __, done) => done() }), stderr }),
      environment: home.environment,
      signal: new AbortController().signal,
      overrides: { 'checkpoints.maxShare': 1 },
    },
  );
  const { stateFolder, configFolder, config } = context;
  const guardian = await openGuardian({ stateFolder, configFolder, config });
  const socket = await listenSocket(guardian);
  const close = async () => {
    await socket.close();
    await guardian.close();
    await home.remove();
  };
  return { context, guardian, close, said: () => said };
}

async function rounds(steps: TrainingSteps | undefined, count: number, between = async () => {}) {
  const boosting = steps?.boosting('trees');
  for (let round = 1; round <= count; round++) {
    await boosting?.onRound?.({ trees: [], validationLoss: new Array(round).fill(0.5) });
    await between();
  }
  return 'trained';
}

test('a training whose token is away goes on without checkpoints, and one that is resumed waits for it', async () => {
  const there = await servedBeside();
  const { context, guardian } = there;
  try {
    const away = () => Promise.reject(new CryptoError('crypto.hsm-away', 'the token does not answer'));
    const real = guardian.keys.unwrap.bind(guardian.keys);
    // Lost in the middle of a run: its key is in memory, so checkpoints go on.
    const begun = withCheckpoints(context, { name: 'm', run: RUN, resume: false }, (steps) =>
      rounds(steps, 3, async () => {
        guardian.keys.unwrap = away;
        guardian.keys.wrap = away;
      }),
    );
    const { counts } = await begun;
    assert.deepEqual([counts?.saved, counts?.failed], [3, 0]);
    const resumed = () =>
      withCheckpoints(context, { name: 'm', run: RUN, resume: true }, (steps) => rounds(steps, 1));
    await assert.rejects(resumed(), { code: 'crypto.hsm-away', retry: true });
    guardian.keys.unwrap = real;
    assert.equal((await resumed()).trained, 'trained');
    // Lost before the run.
    const without = await withCheckpoints(context, { name: 'm', run: RUN, resume: false }, (steps) =>
      rounds(steps, 2),
    );
    assert.deepEqual(without, { trained: 'trained' });
    assert.match(there.said(), /no checkpoints of this training, .* \(crypto\.hsm-away\)/);
  } finally {
    await there.close();
  }
});

test('a full disk is said once and counted, and the training ends as any other', async () => {
  const there = await servedBeside();
  try {
    const run = withCheckpoints(there.context, { name: 'm', run: RUN, resume: false }, (steps) => {
      armFaultPoints((name) => {
        if (name === 'base.files.before-rename')
          throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
      });
      return rounds(steps, 4);
    });
    const { trained, counts } = await run.finally(() => armFaultPoints(undefined));
    assert.equal(trained, 'trained');
    assert.deepEqual([counts?.saved, counts?.failed], [0, 4]);
    assert.equal(there.said().match(/ENOSPC/g)?.length, 1);
  } finally {
    await there.close();
  }
});
