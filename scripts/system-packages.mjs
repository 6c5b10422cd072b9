import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { runForeground } from './runtime.mjs';

/** System packages that tests use: the program looked for, the Debian package that holds it, what for. */
export const SYSTEM_PACKAGES = [
  { tool: 'tshark', debian: 'tshark', use: 'the packet parser is compared with it' },
  { tool: 'softhsm2-util', debian: 'softhsm2', use: 'key stores are tested on a real PKCS#11 token' },
  { tool: 'pg_ctlcluster', debian: 'postgresql', use: 'the queries are tested on a real PostgreSQL' },
  { tool: 'nats-server', debian: 'nats-server', use: 'the bus is tested on a real NATS' },
  { tool: 'openssl', debian: 'openssl', use: 'makes the certificates of the tests' },
  { tool: 'chromium', debian: 'chromium', use: 'the page is tested in a real browser' },
  { tool: 'tcpdump', debian: 'tcpdump', use: 'live capture is tested with it' },
  { tool: 'tcpreplay', debian: 'tcpreplay', use: 'sends captures over a pair of interfaces' },
  { tool: 'ip', debian: 'iproute2', use: 'makes those pairs' },
  { tool: 'softflowd', debian: 'softflowd', use: 'its NetFlow and IPFIX exports are collected' },
  { tool: 'curl', debian: 'curl', use: 'the examples of the README are run' },
  { tool: 'promtool', debian: 'prometheus', use: 'the alert rules are checked with it' },
  { tool: 'nfreplay', debian: 'nfdump', use: 'its NetFlow replays are collected' },
];

const POLICY = '/usr/sbin/policy-rc.d';

/**
 * Installs what is missing of the system packages where it may (root on Debian), else names the command.
 * The tests that need what could not be installed say so themselves. Resolves to 130 or 143 where it was
 * interrupted, else to 0.
 */
export async function installSystemPackages(list = SYSTEM_PACKAGES) {
  const missing = list.filter(({ tool }) => !isOnPath(tool));
  if (missing.length === 0) return 0;
  const names = missing.map(({ debian }) => debian);
  const reasons = missing.map(({ debian, use }) => `${debian} (${use})`).join(', ');
  if (process.getuid?.() !== 0 || !existsSync('/etc/debian_version') || !isOnPath('apt-get')) {
    process.stderr.write(`tests: missing ${reasons}; tests that need them are skipped. To install:\n`);
    process.stderr.write(`  sudo apt-get install --no-install-recommends ${names.join(' ')}\n`);
    return 0;
  }
  process.stderr.write(`tests: installing system packages: ${reasons}\n`);
  return await installDebian(names);
}

export function isOnPath(tool) {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.some((folder) => {
    try {
      accessSync(join(folder, tool), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Package lists and downloads live in a folder of their own, so that the machine's apt state stays as it was. */
async function installDebian(names) {
  const scratch = mkdtempSync(join(tmpdir(), 'guardian-apt-'));
  mkdirSync(join(scratch, 'lists/partial'), { recursive: true });
  mkdirSync(join(scratch, 'cache/archives/partial'), { recursive: true });
  const apt = (...args) =>
    runForeground(
      'apt-get',
      [
        ...['-qq', '-o', `Dir::State::Lists=${scratch}/lists`, '-o', `Dir::Cache=${scratch}/cache`],
        ...['-o', 'APT::Sandbox::User=root', '-o', 'Dpkg::Use-Pty=0', '-o', 'DPkg::Lock::Timeout=120'],
        ...args,
      ],
      {
        stdio: ['ignore', 'ignore', 'inherit'],
        env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C.UTF-8' },
      },
    );
  const restore = keepServicesFromStarting();
  try {
    let code = await apt('update');
    if (code === 0) code = await apt('install', '--yes', '--no-install-recommends', ...names);
    if (code === 130 || code === 143) return code;
    if (code !== 0) {
      process.stderr.write(`tests: apt-get ended with ${code}; tests that need these packages are skipped\n`);
    }
    return 0;
  } finally {
    restore();
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Debian asks policy-rc.d before it starts a service: 101 says no. Returns what puts the old one back. */
function keepServicesFromStarting() {
  const kept = `${POLICY}.guardian-kept`;
  if (existsSync(POLICY) && !existsSync(kept)) renameSync(POLICY, kept);
  writeFileSync(POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  return () => {
    rmSync(POLICY, { force: true });
    if (existsSync(kept)) renameSync(kept, POLICY);
  };
}
