#!/usr/bin/env node
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { trustRoot, withUpdateClient } from '../../src/registry/index.ts';

/**
 * The entry that the TUF conformance suite drives, over the client that `guardian models pull` uses:
 *
 *   tuf-client.ts --metadata-dir D init ROOT
 *   tuf-client.ts --metadata-dir D --metadata-url U refresh
 *   tuf-client.ts --metadata-dir D --metadata-url U --target-name T --target-base-url B --target-dir F download
 *
 * Exit code 0 where the whole of it succeeded, else 1.
 */
async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      'metadata-dir': { type: 'string' },
      'metadata-url': { type: 'string' },
      'target-name': { type: 'string' },
      'target-base-url': { type: 'string' },
      'target-dir': { type: 'string' },
    },
  });
  const [command, rootFile = ''] = positionals;
  const metadataFolder = values['metadata-dir'] ?? '';
  if (command === 'init') return await trustRoot(metadataFolder, await readFile(rootFile));
  const options = {
    metadataFolder,
    metadataUrl: values['metadata-url'] ?? '',
    targetsUrl: values['target-base-url'] ?? '',
  };
  await withUpdateClient(options, async (client) => {
    await client.refresh();
    if (command !== 'download') return;
    const name = values['target-name'] ?? '';
    const target = await client.find(name);
    if (target === undefined) throw new TypeError(`the repository has no target ${name}`);
    await client.download(target, join(values['target-dir'] ?? '', encodeURIComponent(name)));
  });
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
