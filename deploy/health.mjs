import { request } from 'node:http';
import { join } from 'node:path';

/**
 * Asks a server over the socket of its state folder, as its own user and so without a key: `node health.mjs live` or
 * `ready`. Ends with 0 for yes and with 1 for anything else, no answer within three seconds among it.
 */
const [question = 'live'] = process.argv.slice(2);
const folder = process.env.GUARDIAN_STATE ?? '';

const asked = request(
  {
    socketPath: join(folder, 'guardian.sock'),
    path: `/v2/health/${question}`,
    headers: { host: 'localhost' },
    signal: AbortSignal.timeout(3_000),
  },
  (answer) => {
    answer.resume();
    answer.on('end', () => end(answer.statusCode === 200 ? 0 : 1, `answered ${answer.statusCode}`));
  },
);
asked.on('error', (error) => end(1, error.message));
asked.end();

function end(code, says) {
  if (code !== 0) process.stderr.write(`${question}: ${says}\n`);
  process.exitCode = code;
}
