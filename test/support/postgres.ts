import { execFile } from 'node:child_process';
import {
  chownSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';
import type { PostgresConfig } from '../../src/storage/index.ts';
import { freePort } from './free-port.ts';
import { requireTool } from './requires.ts';

const run = promisify(execFile);
const USER = 'guardian';
const PASSWORD = 'correct-horse-5f1d';
/** Debian keeps the programs of each version apart. */
const PACKAGES = '/usr/lib/postgresql';

/** A PostgreSQL of its own, in a folder that goes with it. */
export interface PostgresHouse {
  readonly password: string;
  readonly port: number;
  /** By the Unix socket, with a password. `leaseMs` is 10 s. */
  readonly config: PostgresConfig;
  /** A new, empty database; its configuration. */
  makeDatabase(): Promise<PostgresConfig>;
  /** Runs a statement as the superuser in the database of a configuration. */
  edit(config: PostgresConfig, sql: string): Promise<readonly Record<string, unknown>[]>;
  /** Ends it at once, as a crash would. */
  stop(): Promise<void>;
  /** Starts it again over the same data. */
  start(): Promise<void>;
  close(): Promise<void>;
}

/** Whether PostgreSQL is installed; else the test is skipped, or fails under CI=true. */
export function requirePostgres(t: TestContext): boolean {
  return hasPostgres() || requireTool(t, 'initdb');
}

export function hasPostgres(): boolean {
  return findPrograms() !== undefined;
}

/** Starts one on a Unix socket and a free port of loopback. PostgreSQL refuses root: root runs it as nobody. */
export async function startPostgres(
  settings: readonly string[] = [],
  tls?: { readonly cert: string; readonly key: string },
): Promise<PostgresHouse> {
  const programs = findPrograms() ?? '';
  const folder = mkdtempSync(join(tmpdir(), 'guardian-pg-'));
  const data = join(folder, 'data');
  const passwordFile = join(folder, 'password');
  writeFileSync(passwordFile, `${PASSWORD}\n`, { mode: 0o600 });
  const who = unprivileged();
  if (who !== undefined) for (const path of [folder, passwordFile]) chownSync(path, who.uid, who.gid);
  const options = { ...who, cwd: folder, env: { PATH: process.env.PATH, LC_ALL: 'C.UTF-8' } };
  const port = await freePort();
  await run(
    join(programs, 'initdb'),
    [
      ...['-D', data, '-U', USER, '-A', 'scram-sha-256', '--pwfile', passwordFile, '-E', 'UTF8'],
      // Another order of text than that of bytes, which queries must not depend on.
      ...['--no-sync', '--locale-provider=icu', '--icu-locale=en-US', '--locale=C.UTF-8'],
    ],
    options,
  );
  const lines = [`port = ${port}`, `unix_socket_directories = '${folder}'`, "listen_addresses = '127.0.0.1'"];
  writeFileSync(
    join(data, 'postgresql.conf'),
    [
      ...lines,
      'fsync = off',
      'shared_buffers = 16MB',
      'max_connections = 40',
      ...settings,
      tls ? 'ssl = on' : '',
      '',
    ].join('\n'),
  );
  if (tls !== undefined) {
    for (const [name, text] of [
      ['server.crt', tls.cert],
      ['server.key', tls.key],
    ] as const) {
      writeFileSync(join(data, name), text, { mode: 0o600 });
      if (who !== undefined) chownSync(join(data, name), who.uid, who.gid);
    }
  }
  let pid = 0;
  const start = async () => {
    await run(join(programs, 'pg_ctl'), ['-D', data, '-w', '-l', join(folder, 'log'), 'start'], options);
    pid = Number(readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n')[0]);
  };
  await start();
  // SIGQUIT: at once, also for connections that a killed child left.
  const stop = () => {
    try {
      process.kill(pid, 'SIGQUIT');
    } catch {
      // It has ended.
    }
  };
  const ended = async () => {
    stop();
    while (existsSync(join(data, 'postmaster.pid')) && isAlive(pid)) await turn();
  };
  process.once('exit', stop);
  // The password's file is read by whoever runs the tests.
  if (who !== undefined) chownSync(passwordFile, process.getuid?.() ?? 0, process.getgid?.() ?? 0);
  const configOf = (database: string): PostgresConfig => ({
    url: `postgresql:///${database}?host=${encodeURIComponent(folder)}&port=${port}&user=${USER}`,
    passwordFile,
    caFile: null,
    leaseMs: 10_000,
  });
  const edit = async (config: PostgresConfig, sql: string) => {
    const { default: pg } = await import('pg');
    const database = new URL(config.url ?? '').pathname.slice(1);
    const client = new pg.Client({ host: folder, port, user: USER, password: PASSWORD, database });
    await client.connect();
    try {
      return (await client.query(sql)).rows;
    } finally {
      await client.end();
    }
  };
  const config = configOf('postgres');
  let count = 0;
  return {
    ...{ password: PASSWORD, port, config, edit },
    makeDatabase: async () => {
      const name = `guardian_${++count}`;
      await edit(config, `CREATE DATABASE ${name}`);
      return configOf(name);
    },
    ...{ start, stop: ended },
    close: async () => {
      process.off('exit', stop);
      await ended();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function findPrograms(): string | undefined {
  const versions = existsSync(PACKAGES) ? readdirSync(PACKAGES).sort().reverse() : [];
  return versions
    .map((version) => join(PACKAGES, version, 'bin'))
    .find((folder) => existsSync(join(folder, 'initdb')));
}

function unprivileged(): { readonly uid: number; readonly gid: number } | undefined {
  if (userInfo().uid !== 0) return undefined;
  const [, uid, gid] = readFileSync('/etc/passwd', 'utf8').match(/^nobody:[^:]*:(\d+):(\d+):/m) ?? [];
  return { uid: Number(uid ?? 65_534), gid: Number(gid ?? 65_534) };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 10));
}
