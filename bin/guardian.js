#!/usr/bin/env node
import { lstatSync, mkdirSync } from 'node:fs';
import module from 'node:module';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const main = new URL('../src/cli/main.ts', import.meta.url);
if (Number(process.versions.node.split('.')[0]) >= 24) {
  cacheCompiled();
  await import(main.href);
} else {
  const { bundledNode, runForeground } = await import('../scripts/runtime.mjs');
  process.exitCode = await runForeground(bundledNode(), [fileURLToPath(main), ...process.argv.slice(2)]);
}

/**
 * Keeps what was compiled for the next start, halving its time. What is read from there is run, so the folder must be
 * ours and nobody else's to write; where it is not, or cannot be made, nothing is kept.
 */
function cacheCompiled() {
  if (process.getuid === undefined) return;
  try {
    const folder = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'ai-guardian', 'compiled');
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const { uid, mode } = lstatSync(folder);
    if (uid === process.getuid() && (mode & 0o170022) === 0o040000) module.enableCompileCache(folder);
  } catch {
    // Starts without it.
  }
}
