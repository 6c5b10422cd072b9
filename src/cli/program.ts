import { Command, CommanderError } from 'commander';
import { registerAccess } from './access.ts';
import { registerAudit } from './audit.ts';
import { registerCheckpoints } from './checkpoints.ts';
import { registerConfig } from './config.ts';
import { type Context, createContext, type GlobalOptions } from './context.ts';
import { registerData } from './data.ts';
import { registerDemo } from './demo.ts';
import { registerDetections } from './detections.ts';
import { registerDoctor } from './doctor.ts';
import { registerEvaluate } from './evaluate.ts';
import { EXIT } from './exit-code.ts';
import { registerExtract } from './extract.ts';
import { registerKeys } from './keys.ts';
import { registerLab } from './lab.ts';
import { registerModels } from './models.ts';
import type { Output } from './output.ts';
import type { Registrar } from './registrar.ts';
import { registerReport } from './report.ts';
import { registerRoster } from './roster.ts';
import { registerServe } from './serve.ts';
import { printable } from './text.ts';
import { registerTrain } from './train.ts';
import { registerWorker } from './training-workers.ts';
import { VERSION } from './version.ts';
import { registerWatch } from './watch.ts';

export interface ProgramParts {
  readonly output: Output;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
}

/** Help or the version was printed, or the usage was wrong and that was said. */
export class UsageShown extends Error {
  readonly exitCode: number;

  constructor(exitCode: number) {
    super('usage shown');
    this.exitCode = exitCode;
  }
}

/** The command line: `run` parses it, runs one command and resolves to the exit code. */
export function createProgram(parts: ProgramParts): { run(argv: readonly string[]): Promise<number> } {
  const program = new Command('guardian');
  let exitCode: number = EXIT.done;
  program
    .description('Watches network traffic with machine-learned models that are gated, signed and audited.')
    .version(VERSION)
    .option('--state <folder>', 'where state lives (else GUARDIAN_STATE, else ~/.local/state/ai-guardian)')
    .option(
      '--config <file>',
      'configuration (else GUARDIAN_CONFIG, else ~/.config/ai-guardian/guardian.yaml)',
    )
    .option('--keys <uri>', 'where keys are: file, or pkcs11:token=NAME for a hardware token (else keys.uri)')
    .option('--json', 'one JSON object a line on stdout; the last is the result')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => parts.output.raw(text),
      // What was typed is echoed: by then it may be anything.
      writeErr: (text) =>
        parts.output.note(
          text
            .trimEnd()
            .split('\n')
            .map((line) => printable(line, 2_000))
            .join('\n'),
        ),
    })
    .showHelpAfterError('(run with --help for usage and examples)')
    .addHelpText('after', EXAMPLES);

  const registrar: Registrar = {
    program,
    action: <O>(
      work: (context: Context, options: O, ...operands: string[]) => Promise<number | undefined>,
      overrides?: (options: O) => Readonly<Record<string, unknown>>,
    ) => {
      return async (...all: unknown[]) => {
        // Commander passes the operands, then the options, then the command itself.
        const command = all.at(-1) as Command;
        const options = all.at(-2) as O;
        const operands = all.slice(0, -2) as string[];
        const context = await createContext(command.optsWithGlobals<GlobalOptions>(), {
          ...parts,
          ...(overrides === undefined ? {} : { overrides: overrides(options) }),
        });
        exitCode = (await work(context, options, ...operands)) ?? EXIT.done;
      };
    },
  };
  registerDemo(registrar);
  registerWatch(registrar);
  registerServe(registrar);
  registerDetections(registrar);
  registerExtract(registrar);
  registerTrain(registrar);
  registerData(registrar);
  registerCheckpoints(registrar);
  registerWorker(registrar);
  registerRoster(registrar);
  registerEvaluate(registrar);
  registerModels(registrar);
  registerKeys(registrar);
  registerAccess(registrar);
  registerAudit(registrar);
  registerLab(registrar);
  registerConfig(registrar);
  registerDoctor(registrar);
  registerReport(registrar);
  applyToAll(program);

  return {
    run: async (argv) => {
      try {
        await program.parseAsync([...argv], { from: 'user' });
        return exitCode;
      } catch (error) {
        if (!(error instanceof CommanderError)) throw error;
        throw new UsageShown(error.exitCode === 0 ? EXIT.done : EXIT.usage);
      }
    },
  };
}

/** Subcommands throw instead of ending the process, and take the global options in any place. */
function applyToAll(command: Command): void {
  for (const child of command.commands) {
    child.exitOverride().showHelpAfterError('(run with --help for usage and examples)');
    if (child.commands.length === 0) {
      child.option('--json', 'one JSON object a line on stdout; the last is the result');
      child.option('--state <folder>', 'where state lives');
      child.option('--config <file>', 'configuration file');
      child.option('--keys <uri>', 'file, or a pkcs11: URI');
    }
    applyToAll(child);
  }
}

const EXAMPLES = `
Examples:
  guardian demo --once                         the whole story on generated traffic
  guardian watch capture.pcapng                findings in a capture
  guardian watch conn.log --json               findings in a Zeek log as OCSF, one a line
  guardian models history flow                 who served when, and who approved it
  guardian audit verify                        recompute the log and check its signatures

Exit codes: 0 done, 1 a check failed, 2 usage, 3 a part is unavailable, 4 failed and nothing changed, 130 interrupted.`;
