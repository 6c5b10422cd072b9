import { EXIT } from './exit-code.ts';
import { runCommandLine } from './run-command-line.ts';

const interrupt = new AbortController();
const onSignal = () => {
  // The second Ctrl-C does not wait for the clean-up of the first.
  if (interrupt.signal.aborted) process.exit(EXIT.interrupted);
  interrupt.abort();
};
process.on('SIGINT', onSignal);
process.on('SIGTERM', onSignal);
// A reader that went away (`| head`) ends the command quietly.
process.stdout.on('error', (error: NodeJS.ErrnoException) =>
  process.exit(error.code === 'EPIPE' ? EXIT.done : EXIT.failed),
);

process.exitCode = await runCommandLine(process.argv.slice(2), {
  environment: process.env,
  stdout: process.stdout,
  stderr: process.stderr,
  signal: interrupt.signal,
});

process.off('SIGINT', onSignal);
process.off('SIGTERM', onSignal);
