#!/usr/bin/env node
import { fileURLToPath } from 'node:url';

const main = new URL('../src/cli/main.ts', import.meta.url);
if (Number(process.versions.node.split('.')[0]) >= 24) {
  await import(main.href);
} else {
  const { bundledNode, runForeground } = await import('../scripts/runtime.mjs');
  process.exitCode = await runForeground(bundledNode(), [fileURLToPath(main), ...process.argv.slice(2)]);
}
