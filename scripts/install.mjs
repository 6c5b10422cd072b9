import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { bundledNode, ROOT, runForeground } from './runtime.mjs';

/**
 * Installs the packages of the lock file where they are missing: `run` leaves the development packages
 * out, `test` takes all. Resolves to an exit code, 0 also where nothing was to be done.
 *
 * What counts is the record npm itself keeps of node_modules, so that an install made by hand, or the one
 * for the tests, is never undone.
 */
export async function install(flavour) {
  const wanted = await readPackages(join(ROOT, 'package-lock.json'));
  const present = await readPackages(join(ROOT, 'node_modules/.package-lock.json')).catch(() => ({}));
  if (isCovered(wanted, present, flavour)) return flavour === 'test' ? await buildNative() : 0;

  const what = flavour === 'run' ? 'the packages it runs on' : 'the packages for running and testing';
  process.stderr.write(`guardian: installing ${what} into node_modules (npm ci)\n`);
  const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  if (flavour === 'run') args.push('--omit=dev');
  const code = await npm(args);
  if (code !== 0) {
    process.stderr.write(`guardian: npm ci ended with ${code}; nothing was started\n`);
    return code;
  }
  return flavour === 'test' ? await buildNative() : 0;
}

/**
 * Builds the one package that has to be compiled, for tests of hardware keys, with the headers that the bundled Node
 * brings along: nothing is downloaded. Where there is no compiler the tests that need it say so.
 */
async function buildNative() {
  if (existsSync(join(ROOT, 'node_modules/pkcs11js/build/Release/pkcs11.node'))) return 0;
  process.stderr.write('tests: building pkcs11js, which speaks to hardware tokens\n');
  const headers = join(dirname(bundledNode()), '..');
  const code = await npm(['rebuild', 'pkcs11js', '--loglevel=error', `--nodedir=${headers}`]);
  if (code !== 0)
    process.stderr.write('tests: pkcs11js could not be built (a C++ compiler and make are needed)\n');
  // Interrupted is the end; a failed build is not.
  return code > 128 ? code : 0;
}

function npm(args) {
  const [program, ...first] = npmCommand();
  return runForeground(program, [...first, ...args], { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] });
}

/** Whether each package that this platform and flavour take is present with the digest of the lock file. */
export function isCovered(wanted, present, flavour) {
  return Object.entries(wanted).every(([path, entry]) => {
    if (path === '' || entry.link) return true;
    const found = present[path];
    if (found !== undefined) return found.version === entry.version && found.integrity === entry.integrity;
    if (entry.dev || entry.devOptional) return flavour === 'run' || !fits(entry);
    return entry.optional === true && !fits(entry);
  });
}

function fits(entry) {
  return allows(entry.os, process.platform) && allows(entry.cpu, process.arch) && allows(entry.libc, libc());
}

function allows(list, value) {
  if (list === undefined || value === undefined) return true;
  const names = [list].flat();
  if (names.includes(`!${value}`)) return false;
  return names.every((name) => name.startsWith('!')) || names.includes(value);
}

function libc() {
  if (process.platform !== 'linux') return undefined;
  return process.report.getReport().header.glibcVersionRuntime === undefined ? 'musl' : 'glibc';
}

async function readPackages(file) {
  return JSON.parse(await readFile(file, 'utf8')).packages;
}

/** npm is run by the Node that started it, never by the one it is about to replace. */
function npmCommand() {
  const { npm_execpath: npm, npm_node_execpath: node } = process.env;
  if (npm !== undefined && node !== undefined) return [node, npm];
  return process.platform === 'win32' ? ['cmd.exe', '/c', 'npm'] : ['npm'];
}
