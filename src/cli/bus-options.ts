import type { Command } from 'commander';
import { type Bus, connectNats, openBus as openConfiguredBus, sealBus } from '../bus/index.ts';
import type { Context } from './context.ts';
import { CliError } from './errors.ts';

/** Options of every command that speaks over NATS. */
export interface BusOptions {
  readonly bus?: string;
  readonly busUser?: string;
  readonly busPasswordFile?: string;
  readonly busTokenFile?: string;
  readonly busCa?: string;
  readonly busKeyFile?: string;
}

export function addBusOptions(command: Command): Command {
  return command
    .option('--bus <server>', 'nats://host:port, or tls://host:port where it is not this machine')
    .option('--bus-user <name>', 'user of the bus')
    .option('--bus-password-file <file>', 'file that holds its password')
    .option('--bus-token-file <file>', 'file that holds a token')
    .option('--bus-ca <file>', 'PEM file of the authority that signed the certificate of the bus')
    .option(
      '--bus-key-file <file>',
      'seals everything on the bus: 32 random bytes, mode 0600, the same for all (guardian keys bus FILE)',
    );
}

export async function openBus({
  bus = '',
  busUser,
  busPasswordFile,
  busTokenFile,
  busCa,
  busKeyFile,
}: BusOptions): Promise<Bus> {
  const opened = await connectNats({
    server: bus,
    ...(busUser !== undefined && { user: busUser }),
    ...(busPasswordFile !== undefined && { passwordFile: busPasswordFile }),
    ...(busTokenFile !== undefined && { tokenFile: busTokenFile }),
    ...(busCa !== undefined && { caFile: busCa }),
  });
  return busKeyFile === undefined ? opened : await sealBus(opened, busKeyFile);
}

/** The bus of the options or, where they name none, of the configuration. */
export async function openBusOf(context: Context, options: BusOptions): Promise<Bus> {
  if (options.bus !== undefined) return await openBus(options);
  const { url } = context.config.bus;
  if (url === null)
    throw new CliError('cli.usage', 'expected --bus nats://host:port, or bus.url in guardian.yaml');
  return await openConfiguredBus(context.config.bus);
}
