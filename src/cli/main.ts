import { writeSync } from 'node:fs';
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
// Ends the command as an interrupt does, so that no socket and no half file stays behind.
let outputError: NodeJS.ErrnoException | undefined;
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  outputError ??= error;
  interrupt.abort();
});
process.on('exit', () => {
  if (outputError === undefined) return;
  // A reader that went away (`| head`) has what it wanted.
  const isQuiet = outputError.code === 'EPIPE';
  if (!isQuiet) writeSync(2, `guardian: the output cannot be written: ${outputError.message}\n`);
  process.exitCode = isQuiet ? EXIT.done : EXIT.failed;
});

process.exitCode = await runCommandLine(process.argv.slice(2), {
  environment: process.env,
  stdout: process.stdout,
  stderr: process.stderr,
  signal: interrupt.signal,
});

process.off('SIGINT', onSignal);
process.off('SIGTERM', onSignal);
