import { request } from 'node:http';
import { join } from 'node:path';

/**
 * Asks how a process of this container is: `node health.mjs live` or `ready` asks the server, over the socket of its state
 * folder, as its own user and so without a key; with a port behind it a worker, on loopback. Ends with 0 for yes and with 1
 * for anything else, no answer within three seconds among it.
 */
const [question = 'live', port] = process.argv.slice(2);
const where =
  port === undefined
    ? { socketPath: join(process.env.GUARDIAN_STATE ?? '', 'guardian.sock'), path: `/v2/health/${question}` }
    : { host: '127.0.0.1', port, path: `/health/${question}` };

const asked = request(
  { ...where, headers: { host: 'localhost' }, signal: AbortSignal.timeout(3_000) },
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
