import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { configurationSchema } from '../../src/configuration.ts';
import { loadSchema } from '../../src/features/index.ts';
import { openGuardian } from '../../src/guardian/index.ts';
import type { PostgresConfig } from '../../src/storage/index.ts';
import { CertificateShop } from './certificates.ts';
import { type PostgresHouse, startPostgres } from './postgres.ts';
import { toolPath } from './requires.ts';
import { flowCandidate } from './served-guardian.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const NATS_PORT = 4222;
const WORKERS = 3;
/** A worker waits for its end of the link before it starts. */
const AWAIT_LINK =
  'until ip -o -4 addr show eth0 2>/dev/null | grep -q inet; do sleep 0.05; done; ip link set lo up; exec "$@"';

export interface Answer {
  readonly status: number;
  readonly body: string;
}

export interface ScaleOutWorker {
  readonly id: string;
  readonly process: ChildProcess;
  /** Takes the link down or up again. */
  cut(): void;
  heal(): void;
}

/** One owner with PostgreSQL and NATS in this network namespace; workers in namespaces of their own, a link each. */
export class ScaleOutHouse {
  readonly #folder = mkdtempSync(join(tmpdir(), 'guardian-scale-'));
  readonly #shop = new CertificateShop();
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 32 });
  readonly #children: ChildProcess[] = [];
  readonly #environment = {
    HOME: this.#folder,
    XDG_STATE_HOME: join(this.#folder, 'state'),
    XDG_CONFIG_HOME: join(this.#folder, 'config'),
    PATH: process.env.PATH ?? '',
  };
  #postgres: PostgresHouse | undefined;
  #database: PostgresConfig | undefined;
  #socket = '';
  #links = 0;
  owner: ChildProcess | undefined;
  nats: ChildProcess | undefined;

  static async open(options: { readonly partitions: number }): Promise<ScaleOutHouse> {
    const house = new ScaleOutHouse();
    try {
      await house.#start(options);
      return house;
    } catch (error) {
      await house.close();
      throw error;
    }
  }

  /** Starts a worker behind a link of its own; resolves when it has the owner's model. */
  async startWorker(id: string): Promise<ScaleOutWorker> {
    const number = (this.#links++ % 200) + 1;
    const host = `10.99.${((number - 1) % WORKERS) + 1}.1`;
    const link = `link-${number}`;
    const file = (name: string) => join(this.#folder, name);
    const child = this.#spawn(toolPath('unshare') ?? 'unshare', [
      ...['-n', 'sh', '-c', AWAIT_LINK, 'sh', process.execPath, MAIN],
      ...['worker', '--json', '--role', 'inference', '--id', id, '--threads', '1'],
      ...['--bus', `tls://${host}:${NATS_PORT}`, '--bus-user', 'guardian'],
      ...['--bus-password-file', file('password'), '--bus-ca', file('ca.pem')],
      ...['--bus-key-file', file('bus.key'), '--trust', file('trust.pem')],
    ]);
    const ready = objectOf(child, 'worker.ready');
    const ours = readlinkSync('/proc/self/ns/net');
    while (readlinkSync(`/proc/${child.pid}/ns/net`) === ours) await wait(5);
    ip('link', 'add', link, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(child.pid));
    ip('addr', 'add', `${host}/24`, 'dev', link);
    ip('link', 'set', link, 'up');
    within(child.pid, 'ip', 'addr', 'add', `${host.replace(/1$/, '2')}/24`, 'dev', 'eth0');
    within(child.pid, 'ip', 'link', 'set', 'eth0', 'up');
    await ready;
    return {
      ...{ id, process: child },
      cut: () => ip('link', 'set', link, 'down'),
      heal: () => ip('link', 'set', link, 'up'),
    };
  }

  /** Asks the owner through its socket. */
  call(method: string, path: string, body = '', headers: Record<string, string> = {}): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const sent = request(
        {
          ...{ socketPath: this.#socket, method, path, agent: this.#agent },
          headers: { host: 'localhost', 'content-type': 'application/x-ndjson', ...headers },
        },
        (response) => {
          let text = '';
          response.setEncoding('utf8').on('data', (part: string) => {
            text += part;
          });
          response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text }));
        },
      );
      sent.on('error', reject);
      sent.end(body);
    });
  }

  /** Values of the owner's metrics whose line begins so, summed. */
  async metric(start: string): Promise<number> {
    const { body } = await this.call('GET', '/metrics');
    return body
      .split('\n')
      .filter((line) => line.startsWith(start))
      .reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
  }

  query(sql: string): Promise<readonly Record<string, unknown>[]> {
    if (this.#postgres === undefined || this.#database === undefined) throw new Error('not open');
    return this.#postgres.edit(this.#database, sql);
  }

  async close(): Promise<void> {
    this.#agent.destroy();
    for (const child of this.#children) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    await this.#postgres?.close();
    this.#shop.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #start({ partitions }: { readonly partitions: number }): Promise<void> {
    ip('link', 'set', 'lo', 'up');
    this.#writeSecrets();
    this.#postgres = await startPostgres();
    this.#database = await this.#postgres.makeDatabase();
    const file = (name: string) => join(this.#folder, name);
    const config = {
      storage: { database: 'postgres', postgres: this.#database },
      bus: {
        ...{ url: `tls://127.0.0.1:${NATS_PORT}`, caFile: file('ca.pem'), user: 'guardian' },
        ...{ passwordFile: file('password'), sealingKeyFile: file('bus.key') },
      },
      queue: { partitions },
      alerts: { minFlows: { 'port-scan': 1 } },
    };
    await this.#publishModel(config);
    this.nats = this.#spawn('nats-server', ['-c', file('nats.conf'), '-l', file('nats.log')]);
    await wait(500);
    writeFileSync(file('guardian.yaml'), JSON.stringify(config));
    this.owner = this.#spawn(process.execPath, [
      ...[MAIN, 'serve', '--json', '--port', '0', '--config', file('guardian.yaml')],
    ]);
    const { socket } = await objectOf(this.owner, 'serve.listening');
    this.#socket = String(socket);
  }

  #writeSecrets(): void {
    const authority = this.#shop.authority('bus');
    const hosts = Array.from({ length: WORKERS }, (_, k) => `IP:10.99.${k + 1}.1`);
    const { certFile, keyFile } = this.#shop.issue(authority, {
      ...{ names: ['bus'], usage: 'serverAuth', alternative: ['IP:127.0.0.1', ...hosts].join() },
    });
    const write = (name: string, data: string | Uint8Array) =>
      writeFileSync(join(this.#folder, name), data, { mode: 0o600 });
    const password = randomBytes(16).toString('hex');
    write('ca.pem', authority.cert);
    write('password', password);
    write('bus.key', randomBytes(32));
    const store = join(this.#folder, 'nats');
    write(
      'nats.conf',
      `listen: 0.0.0.0:${NATS_PORT}
tls { cert_file: "${certFile}", key_file: "${keyFile}" }
authorization { user: guardian, password: "${password}" }
jetstream { store_dir: "${store}", max_file_store: 4294967296 }
`,
    );
  }

  /** The champion `flow`, and whom its workers trust. */
  async #publishModel({ storage, alerts }: Readonly<Record<string, unknown>>): Promise<void> {
    const { XDG_STATE_HOME, XDG_CONFIG_HOME } = this.#environment;
    for (const folder of [XDG_STATE_HOME, XDG_CONFIG_HOME]) mkdirSync(folder, { mode: 0o700 });
    const guardian = await openGuardian({
      stateFolder: join(XDG_STATE_HOME, 'ai-guardian'),
      configFolder: join(XDG_CONFIG_HOME, 'ai-guardian'),
      config: configurationSchema.parse({ storage, alerts }),
    });
    try {
      const tester = { principal: 'tester' };
      const { version } = await guardian.registry.publish(
        flowCandidate(await loadSchema('flow-core')),
        tester,
      );
      await guardian.promote('flow', version, 'champion', tester);
      const keys = await guardian.keys.list();
      const trusted = keys.filter(({ purpose }) => purpose === 'model-signing');
      writeFileSync(
        join(this.#folder, 'trust.pem'),
        trusted.map(({ publicKeyPem }) => publicKeyPem ?? '').join('\n'),
      );
    } finally {
      await guardian.close();
    }
  }

  #spawn(program: string, args: readonly string[]): ChildProcess {
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: this.#environment,
    });
    this.#children.push(child);
    return child;
  }
}

/** CPU seconds of a process so far, its threads included (100 ticks a second). */
export function cpuOf(child: ChildProcess): number {
  try {
    const fields = readFileSync(`/proc/${child.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
    return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch {
    return Number.NaN;
  }
}

function ip(...args: string[]): void {
  execFileSync(toolPath('ip') ?? 'ip', args);
}

function within(pid: number | undefined, ...command: string[]): void {
  execFileSync('nsenter', ['-t', String(pid), '-n', ...command]);
}

/** The first object of this type on a child's stdout. */
async function objectOf(child: ChildProcess, type: string): Promise<Record<string, unknown>> {
  if (child.stdout === null) throw new Error('expected a pipe');
  for await (const line of createInterface({ input: child.stdout })) {
    if (!line.startsWith('{')) continue;
    const object = JSON.parse(line) as Record<string, unknown>;
    if (object.type === type) {
      // Whatever else it says must not fill the pipe.
      child.stdout.resume();
      return object;
    }
  }
  throw new Error(`the process ended before it said ${type}`);
}
