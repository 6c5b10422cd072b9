import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { toolPath } from '../support/requires.ts';

/**
 * `npm run campaign -- zfs [--record]`: the blob store's suites on real OpenZFS, in a virtual machine without a network.
 * The machine's disk is built once and kept in a cache folder. `--record` renews the transcripts that the normal tests
 * replay. Needs root the first time, to build; QEMU runs without hardware acceleration.
 */
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const HERE = join(ROOT, 'test/campaigns/zfs');
const CACHE = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'ai-guardian/zfs-vm');
const RESULTS = join(CACHE, 'results');
const FIXTURE = join(ROOT, 'test/fixtures/zfs/transcripts.json');
const TOOLS: readonly (readonly [tool: string, debian: string])[] = [
  ['qemu-system-x86_64', 'qemu-system-x86'],
  ['mmdebstrap', 'mmdebstrap'],
  ['mkfs.ext4', 'e2fsprogs'],
];
const BOOT_LIMIT_MS = 30 * 60_000;
/** Development tools, and the runtime, which goes along by itself. */
const LEFT_OUT = /^(?:\.|@?typescript|@biomejs|@types|node-|sodium-native|pkcs11js|undici-types)/;

process.exitCode = await main(process.argv.includes('--record'));

async function main(record: boolean): Promise<number> {
  installTools();
  mkdirSync(CACHE, { recursive: true });
  if (!existsSync(join(CACHE, 'disk.img'))) {
    execFileSync('unshare', ['--mount', 'sh', join(HERE, 'build-image.sh'), CACHE], { stdio: 'inherit' });
  }
  buildPayload();
  const started = performance.now();
  await boot();
  const seconds = Math.round((performance.now() - started) / 1000);
  rmSync(RESULTS, { recursive: true, force: true });
  mkdirSync(RESULTS);
  execFileSync('tar', ['-xf', join(CACHE, 'results.img'), '-C', RESULTS]);
  const rc = Number(readFileSync(join(RESULTS, 'rc'), 'utf8'));
  if (record && rc === 0) {
    mkdirSync(join(ROOT, 'test/fixtures/zfs'), { recursive: true });
    copyFileSync(join(RESULTS, 'transcripts.json'), FIXTURE);
  }
  process.stdout.write(`the guest ran ${seconds} s and ended with ${rc}; what it wrote lies in ${RESULTS}\n`);
  return rc;
}

function installTools(): void {
  const missing = TOOLS.filter(([tool]) => toolPath(tool) === undefined).map(([, debian]) => debian);
  if (missing.length === 0) return;
  const install = ['install', '--yes', '--no-install-recommends', ...missing];
  if (process.getuid?.() !== 0) throw new Error(`missing programs: sudo apt-get ${install.join(' ')}`);
  execFileSync('apt-get', ['-qq', 'update'], { stdio: 'inherit' });
  execFileSync('apt-get', ['-qq', ...install], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
}

/** A read-only disk: the repository without its history, what it depends on, and Node. */
function buildPayload(): void {
  const folder = join(CACHE, 'payload');
  const repository = join(folder, 'repository');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(repository, { recursive: true });
  for (const name of ['src', 'test', 'schemas', 'package.json']) {
    cpSync(join(ROOT, name), join(repository, name), { recursive: true });
  }
  for (const name of readdirSync(join(ROOT, 'node_modules'))) {
    if (LEFT_OUT.test(name)) continue;
    cpSync(join(ROOT, 'node_modules', name), join(repository, 'node_modules', name), { recursive: true });
  }
  copyFileSync(process.execPath, join(folder, 'node'));
  copyFileSync(join(HERE, 'guest-init.sh'), join(folder, 'init.sh'));
  copyFileSync(join(HERE, 'run.sh'), join(folder, 'run.sh'));
  rmSync(join(CACHE, 'payload.img'), { force: true });
  execFileSync('mkfs.ext4', ['-q', '-F', '-d', folder, join(CACHE, 'payload.img'), '1G']);
  rmSync(folder, { recursive: true });
  writeFileSync(join(CACHE, 'results.img'), '');
  truncateSync(join(CACHE, 'results.img'), 64 << 20);
}

/** Runs until the guest has powered off; its console goes to the standard output and to a file. */
async function boot(): Promise<void> {
  const disk = (name: string, more = '') => [
    '-drive',
    `file=${join(CACHE, name)},format=raw,if=virtio${more}`,
  ];
  const args = [
    ...['-accel', 'tcg,thread=multi', '-cpu', 'max', '-smp', '2', '-m', '2048'],
    ...['-nic', 'none', '-display', 'none', '-serial', 'stdio', '-monitor', 'none', '-no-reboot'],
    ...['-device', 'virtio-rng-pci', '-kernel', join(CACHE, 'vmlinuz'), '-initrd', join(CACHE, 'initrd.img')],
    ...['-append', 'root=/dev/vda rw console=ttyS0 quiet no_timer_check panic=5 init=/sbin/campaign-init'],
    ...disk('disk.img', ',snapshot=on'),
    ...disk('payload.img', ',readonly=on'),
    ...disk('results.img'),
  ];
  const qemu = spawn('qemu-system-x86_64', args, {
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: BOOT_LIMIT_MS,
  });
  const log: Buffer[] = [];
  qemu.stdout.on('data', (chunk: Buffer) => {
    log.push(chunk);
    process.stdout.write(chunk);
  });
  await once(qemu, 'close');
  const path = join(CACHE, 'console.log');
  writeFileSync(`${path}.part`, Buffer.concat(log));
  renameSync(`${path}.part`, join(CACHE, basename(path)));
}
