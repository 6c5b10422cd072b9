import { access } from 'node:fs/promises';
import { writeLab } from '../lab/index.ts';
import type { Context } from './context.ts';
import { CliError } from './errors.ts';
import { parseWhole } from './options.ts';
import type { Registrar } from './registrar.ts';
import { count, printable } from './text.ts';

interface LabOptions {
  readonly out: string;
  readonly labels: string;
  readonly seed: number;
  readonly seconds: number;
}

export function registerLab({ program, action }: Registrar): void {
  program
    .command('lab')
    .description(
      'Writes labelled traffic for demonstration, tests and load; the same seed gives the same bytes.',
    )
    .requiredOption('--out <file.pcap>', 'capture to write')
    .requiredOption('--labels <file.csv>', 'labels to write, a line a conversation')
    .requiredOption('--seed <n>', 'seed, 0 to 4294967295', parseWhole(0, 0xffffffff))
    .option('--seconds <s>', 'length of the traffic', parseWhole(1, 86_400), 300)
    .addHelpText('after', '\nExample:\n  guardian lab --out day.pcap --labels day.csv --seed 7 --seconds 600')
    .action(action<LabOptions>(runLab));
}

async function runLab(context: Context, options: LabOptions): Promise<undefined> {
  for (const path of [options.out, options.labels]) await refuseExisting(path);
  const progress = context.output.progress('writing traffic');
  const started = performance.now();
  const result = await writeLab({
    out: options.out,
    labels: options.labels,
    seed: options.seed,
    seconds: options.seconds,
    signal: context.signal,
    onProgress: (share) => progress.update(share),
  });
  progress.done();
  const seconds = (performance.now() - started) / 1000;
  context.output.line(
    `${count(result.packets)} packets, ${count(result.conversations)} conversations in ${printable(options.out)}; labels in ${printable(options.labels)}`,
  );
  context.output.object({ type: 'lab.result', ...result, seed: options.seed, seconds: round(seconds) });
  return undefined;
}

/** Throws `cli.file-exists`. */
export async function refuseExisting(path: string): Promise<void> {
  const exists = await access(path).then(
    () => true,
    () => false,
  );
  if (exists) throw new CliError('cli.file-exists', `${path} exists already and is not overwritten`);
}

function round(seconds: number): number {
  return Math.round(seconds * 1000) / 1000;
}
