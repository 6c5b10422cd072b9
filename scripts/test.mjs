import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { install } from './install.mjs';
import { bundledNode, ROOT, runForeground } from './runtime.mjs';
import { installSystemPackages } from './system-packages.mjs';

/** Share of lines of src/ that the whole run must reach, in percent. */
const LINES_THRESHOLD = 85;

const args = process.argv.slice(2);
process.exitCode = await main(args);

async function main(restrictTo) {
  const prepared = (await install('test')) || (await installSystemPackages());
  if (prepared !== 0) return prepared;
  if (restrictTo.length > 0) return await runTests(restrictTo);

  const types = await step('type check', ['node_modules/typescript/bin/tsc', '--noEmit']);
  if (types > 128) return types;
  const style = await step('lint and format', ['node_modules/@biomejs/biome/bin/biome', 'check']);
  if (style > 128) return style;
  const tests = await runTests([]);
  const failed = [types !== 0 && 'type check', style !== 0 && 'lint and format'].filter(Boolean);
  if (failed.length > 0) process.stdout.write(`✖ ${failed.join(' and ')} failed, see the top\n`);
  return tests || types || style;
}

async function step(name, command) {
  const code = await runForeground(bundledNode(), command, { cwd: ROOT });
  process.stdout.write(code === 0 ? `✔ ${name}\n` : `✖ ${name}\n`);
  return code;
}

/** Arguments that begin with a dash go to Node's test runner; others are files or folders. */
function runTests(restrictTo) {
  const paths = restrictTo.filter((arg) => !arg.startsWith('-')).flatMap(testPattern);
  const flags = restrictTo.filter((arg) => arg.startsWith('-'));
  const coverage = [
    '--experimental-test-coverage',
    '--test-coverage-include=src/**/*.ts',
    '--test-coverage-exclude=**/*.test.ts',
    `--test-coverage-lines=${LINES_THRESHOLD}`,
  ];
  return runForeground(
    bundledNode(),
    [
      '--test',
      '--test-concurrency=2',
      '--test-reporter=./scripts/test-reporter.mjs',
      '--test-reporter-destination=stdout',
      '--import=./test/support/seed.ts',
      ...(restrictTo.length === 0 ? coverage : []),
      ...flags,
      ...(paths.length > 0 ? paths : ['src/**/*.test.ts', 'test/**/*.test.ts']),
    ],
    { cwd: ROOT, env: { ...process.env, TZ: 'UTC', LC_ALL: 'C.UTF-8', NODE_ENV: 'test' } },
  );
}

function testPattern(path) {
  const full = join(ROOT, path);
  return existsSync(full) && statSync(full).isDirectory()
    ? [`${path.replace(/\/$/, '')}/**/*.test.ts`]
    : [path];
}
