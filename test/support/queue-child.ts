/** One process of the queue, for tests that kill it: `worker ID` scores by a rule, `owner FOLDER` dies between store and ack. */
import { armFaultPoints } from '../../src/base/index.ts';
import { connectNats, sealBus } from '../../src/bus/index.ts';
import { loadSchema } from '../../src/features/index.ts';
import { openQueueOwner, queueWorker, ruleEngine } from './queue-house.ts';

const [role, server = '', keyFile = '', name = '', slowMs = '0'] = process.argv.slice(2);
const open = async () => sealBus(await connectNats({ server, maxTopicBytes: 8 * 1024 * 1024 }), keyFile);

if (role === 'owner') {
  armFaultPoints((point) => {
    if (point === 'guardian.queue.before-ack') process.kill(process.pid, 'SIGKILL');
  });
  await openQueueOwner(name, open);
} else {
  const rule = ruleEngine(await loadSchema('flow-core'));
  await queueWorker(await open(), name, {
    engine: {
      score: async (batch, options) => {
        await new Promise((resolve) => setTimeout(resolve, Number(slowMs)));
        return await rule.score(batch, options);
      },
    },
  });
}
process.stdout.write('ready\n');
