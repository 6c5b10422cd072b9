import { randomBytes } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { link, open, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { syncFolder } from '../base/index.ts';
import { type SealedHeader, type SecretBuffer, sealStream } from '../crypto/index.ts';
import type { Context } from './context.ts';
import { CliError } from './errors.ts';
import type { Registrar } from './registrar.ts';
import { withSession } from './session.ts';
import { count, printable } from './text.ts';
import { TrainingKeysClient } from './training-keys.ts';

export function registerData({ program, action }: Registrar): void {
  const data = program.command('data').description('Training data at rest.');
  data
    .command('seal')
    .description('Encrypts a training file; commands that read one take the sealed file as it is.')
    .argument('<file>', 'table, capture, flows or labels')
    .requiredOption('--out <file>', 'where the sealed file goes; never overwritten')
    .addHelpText('after', '\nExample:\n  guardian data seal KDDTrain+.txt.gz --out KDDTrain+.sealed')
    .action(action<{ out: string }>(runSeal));
}

async function runSeal(context: Context, { out }: { readonly out: string }, file = ''): Promise<undefined> {
  const { output } = context;
  const found = await stat(file).catch((cause: unknown) => {
    throw new CliError('cli.usage', `cannot read ${printable(file)}`, { cause });
  });
  if (!found.isFile()) throw new CliError('cli.usage', `expected a file, got ${printable(file)}`);
  const target = resolve(out);
  if (existsSync(target)) throw new CliError('cli.file-exists', `${printable(out)} exists already`);
  const { wraps, key } = await withSession(context, ({ api }) =>
    new TrainingKeysClient(api).make('data', basename(file)),
  );
  const header = { v: 1, purpose: 'data', context: { name: basename(file).toWellFormed() }, wraps } as const;
  const progress = output.progress(`sealing ${printable(basename(file))}`);
  try {
    const bytes = await writeSealed(target, header, {
      ...{ key, file, signal: context.signal },
      onBytes: (done) => progress.update(found.size === 0 ? 1 : done / found.size),
    });
    output.line(`sealed ${count(found.size)} bytes to ${printable(out)} (${count(bytes)} bytes)`);
    output.line(`${printable(file)} is still there in the clear: remove it where it is not needed`);
    const { dataKeyId } = wraps;
    output.object({
      type: 'data.sealed',
      file,
      out,
      dataKey: dataKeyId,
      bytes: found.size,
      sealedBytes: bytes,
    });
  } finally {
    progress.done();
    key.wipe();
  }
  return undefined;
}

interface SealSource {
  readonly file: string;
  readonly key: SecretBuffer;
  readonly signal: AbortSignal;
  readonly onBytes: (done: number) => void;
}

/** Writes the sealed file whole or not at all, and never over another; durable when resolved. Gives its size. */
async function writeSealed(target: string, header: SealedHeader, source: SealSource): Promise<number> {
  const temporary = join(dirname(target), `.tmp-${basename(target)}-${randomBytes(6).toString('hex')}`);
  const handle = await open(temporary, 'wx', 0o600).catch((cause: unknown) => {
    throw new CliError('cli.usage', `cannot write to ${printable(dirname(target))}`, { cause });
  });
  let bytes = 0;
  try {
    try {
      for await (const piece of sealStream(header, source.key, createReadStream(source.file))) {
        source.signal.throwIfAborted();
        await handle.writeFile(piece);
        bytes += piece.length;
        source.onBytes(bytes);
      }
      await handle.sync();
    } finally {
      await handle.close();
    }
    // Unlike a rename, a link takes no other file's place.
    await link(temporary, target);
  } finally {
    await rm(temporary, { force: true });
  }
  await syncFolder(dirname(target));
  return bytes;
}
