import type { Writable } from 'node:stream';
import { GuardianError } from '../base/index.ts';
import { ApiError } from './api.ts';
import { EXIT, exitCodeOf } from './exit-code.ts';
import { Output } from './output.ts';
import { createProgram, UsageShown } from './program.ts';
import { printable } from './text.ts';

/** The process as a command sees it. */
export interface Surroundings {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly stdout: Writable;
  readonly stderr: Writable;
  /** Aborted when the user interrupts. */
  readonly signal: AbortSignal;
}

/** Runs one command line and resolves to its exit code. Nothing is thrown: failures are said on stderr. */
export async function runCommandLine(argv: readonly string[], around: Surroundings): Promise<number> {
  const { environment, stdout, stderr, signal } = around;
  const output = new Output({ json: argv.includes('--json'), stdout, stderr });
  try {
    const code = await createProgram({ output, environment, signal }).run(argv);
    return code;
  } catch (error) {
    if (error instanceof UsageShown) return error.exitCode;
    if (signal.aborted) {
      // Where stdout failed it was no user who interrupted.
      if (stdout.errored === null) output.note('guardian: interrupted');
      return EXIT.interrupted;
    }
    report(error, output, environment.GUARDIAN_LOG_LEVEL === 'debug');
    return exitCodeOf(error);
  }
}

function report(error: unknown, output: Output, isVerbose: boolean): void {
  const known = error instanceof GuardianError || error instanceof ApiError;
  const message = printable(error instanceof Error ? error.message : String(error), 2_000);
  const code = known ? error.code : 'cli.unexpected';
  const category = known ? error.category : 'resource';
  output.object({ type: 'error', code, category, retry: known && error.retry, error: message });
  output.note(`guardian: ${message} (${code})`);
  if (!known && isVerbose && error instanceof Error) output.note(error.stack ?? '');
}
