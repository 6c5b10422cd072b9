import type { Command } from 'commander';
import type { Context } from './context.ts';

/** How a command is attached to the program. */
export interface Registrar {
  readonly program: Command;
  /**
   * Wraps a command's work for commander. It is given the context, the parsed options and the operands in order,
   * and resolves to the exit code (done by default). `overrides` are configuration fields that options set.
   */
  action<O>(
    work: (context: Context, options: O, ...operands: string[]) => Promise<number | undefined>,
    overrides?: (options: O) => Readonly<Record<string, unknown>>,
  ): (...all: unknown[]) => Promise<void>;
}
