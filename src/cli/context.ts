import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { ResolvedConfiguration } from '../base/index.ts';
import { type Clock, createLogger, type Logger, systemClock } from '../base/index.ts';
import { type Configuration, readConfiguration } from '../configuration.ts';
import { configFolder, stateFolder } from '../storage/index.ts';
import type { Output } from './output.ts';

/** Options that every command takes. */
export interface GlobalOptions {
  readonly state?: string;
  readonly config?: string;
  /** `file` or a `pkcs11:` URI. */
  readonly keys?: string;
  readonly json?: boolean;
}

/** What a command is given to work with; nothing is read from the process behind its back. */
export interface Context {
  readonly output: Output;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
  readonly stateFolder: string;
  readonly configFolder: string;
  readonly resolved: ResolvedConfiguration<Configuration>;
  readonly config: Configuration;
  readonly logger: Logger;
}

export interface ContextParts {
  readonly output: Output;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
  /** Configuration fields that command line options set, by dotted path. */
  readonly overrides?: Readonly<Record<string, unknown>>;
}

/** Resolves folders and configuration. Throws `base.config-invalid`. */
export async function createContext(options: GlobalOptions, parts: ContextParts): Promise<Context> {
  const { environment } = parts;
  const folder = configFolder(environment);
  const named = options.config ?? environment.GUARDIAN_CONFIG;
  const usual = join(folder, 'guardian.yaml');
  const file = named !== undefined ? resolve(named) : existsSync(usual) ? usual : undefined;
  const resolved = await readConfiguration({
    environment,
    ...(file === undefined ? {} : { file }),
    overrides: { ...parts.overrides, ...(options.keys !== undefined && { 'keys.uri': options.keys }) },
  });
  return {
    output: parts.output,
    environment,
    clock: systemClock,
    signal: parts.signal,
    stateFolder: stateFolder(environment, options.state),
    configFolder: folder,
    resolved,
    config: resolved.values,
    logger: createLogger({ level: resolved.values.log.level }),
  };
}
