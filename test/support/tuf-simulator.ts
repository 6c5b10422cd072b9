import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type TufRole = 'root' | 'targets' | 'snapshot' | 'timestamp';
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
type Fields = Record<string, Json>;

const ROLES: readonly TufRole[] = ['root', 'targets', 'snapshot', 'timestamp'];
const DAY = 86_400_000;

/** A signing key of the simulated repository. */
export interface SimulatedKey {
  readonly id: string;
  readonly fields: Fields;
  readonly privateKey: KeyObject;
}

export function makeKey(kind: 'ed25519' | 'ecdsa' = 'ed25519'): SimulatedKey {
  if (kind === 'ed25519') {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519');
    const raw = Buffer.from(publicKey.export({ format: 'jwk' }).x ?? '', 'base64url').toString('hex');
    return nameKey({ keytype: 'ed25519', scheme: 'ed25519', keyval: { public: raw } }, privateKey);
  }
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pem = publicKey.export({ type: 'spki', format: 'pem' }) as string;
  return nameKey({ keytype: 'ecdsa', scheme: 'ecdsa-sha2-nistp256', keyval: { public: pem } }, privateKey);
}

/** Answers one request in place of a file. */
export type Answer = (response: ServerResponse) => void;

/**
 * A TUF repository that can misbehave: metadata are plain JSON, made and signed without any TUF library, and whatever
 * stands in `files` is served. Fields are changed at will between publications.
 */
export class TufSimulator {
  readonly keys: Record<TufRole, SimulatedKey[]> = { root: [], targets: [], snapshot: [], timestamp: [] };
  readonly thresholds: Record<TufRole, number> = { root: 1, targets: 1, snapshot: 1, timestamp: 1 };
  readonly versions: Record<TufRole, number> = { root: 0, targets: 1, snapshot: 1, timestamp: 1 };
  readonly expires: Record<TufRole, string>;
  /** Of targets, by name. */
  targets: Record<string, Fields> = {};
  /** More fields of the targets metadata, and more entries of the snapshot. */
  extra: Fields = {};
  moreMeta: Fields = {};
  withHashes = true;
  consistent = true;
  /** Path below the server's root to what is served there. */
  readonly files = new Map<string, Buffer | Answer>();
  /** Paths that were asked for. */
  readonly requests: string[] = [];
  #server: Server | undefined;
  #url = '';

  constructor() {
    const later = inDays(365);
    this.expires = { root: later, targets: later, snapshot: later, timestamp: later };
    for (const role of ROLES) this.keys[role] = [makeKey(role === 'targets' ? 'ecdsa' : 'ed25519')];
    this.publishRoot();
    this.publish();
  }

  get metadataUrl(): string {
    return `${this.#url}/metadata`;
  }

  get targetsUrl(): string {
    return `${this.#url}/targets`;
  }

  async listen(): Promise<void> {
    const server = createServer((request, response) => {
      const path = (request.url ?? '').slice(1);
      this.requests.push(path);
      const file = this.files.get(path);
      if (typeof file === 'function') file(response);
      else if (file === undefined) response.writeHead(404).end();
      else response.writeHead(200).end(file);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    this.#server = server;
    this.#url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server?.close(() => resolve());
      this.#server?.closeAllConnections();
    });
  }

  /** The next root, signed by its own keys and by `also`: those of the root before. */
  publishRoot(also: readonly SimulatedKey[] = []): Buffer {
    this.versions.root++;
    const keys: Record<string, Json> = {};
    const roles: Record<string, Json> = {};
    for (const role of ROLES) {
      for (const key of this.keys[role]) keys[key.id] = key.fields;
      roles[role] = { keyids: this.keys[role].map(({ id }) => id), threshold: this.thresholds[role] };
    }
    const signed = { ...this.#common('root'), consistent_snapshot: this.consistent, keys, roles };
    const bytes = envelope(signed, [...this.keys.root, ...also]);
    this.files.set(`metadata/${this.versions.root}.root.json`, bytes);
    return bytes;
  }

  rotate(role: TufRole): readonly SimulatedKey[] {
    const before = this.keys[role];
    this.keys[role] = [makeKey()];
    return before;
  }

  /** Writes targets, snapshot and timestamp at their present versions. */
  publish(signers: Partial<Record<TufRole, readonly SimulatedKey[]>> = {}): void {
    const by = (role: TufRole) => signers[role] ?? this.keys[role];
    const targets = envelope(
      { ...this.#common('targets'), targets: this.targets, ...this.extra },
      by('targets'),
    );
    this.#put('targets', targets);
    const snapshot = envelope(
      {
        ...this.#common('snapshot'),
        meta: { 'targets.json': this.#meta('targets', targets), ...this.moreMeta },
      },
      by('snapshot'),
    );
    this.#put('snapshot', snapshot);
    this.publishTimestamp(this.#meta('snapshot', snapshot), by('timestamp'));
  }

  publishTimestamp(snapshotMeta: Fields, signers: readonly SimulatedKey[] = this.keys.timestamp): void {
    const signed = { ...this.#common('timestamp'), meta: { 'snapshot.json': snapshotMeta } };
    this.files.set('metadata/timestamp.json', envelope(signed, signers));
  }

  /** A whole publication with every version one higher. */
  publishNext(): void {
    for (const role of ['targets', 'snapshot', 'timestamp'] as const) this.versions[role]++;
    this.publish();
  }

  /** Adds a target and serves it; to be published afterwards. */
  addTarget(name: string, content: Buffer | string, served: Buffer | string = content): void {
    const bytes = Buffer.from(content);
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    this.targets = { ...this.targets, [name]: { length: bytes.length, hashes: { sha256 } } };
    const slash = name.lastIndexOf('/') + 1;
    const file = this.consistent ? `${name.slice(0, slash)}${sha256}.${name.slice(slash)}` : name;
    this.files.set(`targets/${file.split('/').map(encodeURIComponent).join('/')}`, Buffer.from(served));
  }

  file(role: 'targets' | 'snapshot', version = this.versions[role]): string {
    return `metadata/${this.consistent ? `${version}.` : ''}${role}.json`;
  }

  #put(role: 'targets' | 'snapshot', bytes: Buffer): void {
    this.files.set(this.file(role), bytes);
  }

  #meta(role: 'targets' | 'snapshot', bytes: Buffer): Fields {
    const version = this.versions[role];
    if (!this.withHashes) return { version };
    return {
      version,
      length: bytes.length,
      hashes: { sha256: createHash('sha256').update(bytes).digest('hex') },
    };
  }

  #common(role: TufRole): Fields {
    return { _type: role, spec_version: '1.0.31', version: this.versions[role], expires: this.expires[role] };
  }
}

export function inDays(days: number): string {
  return new Date(Date.now() + days * DAY).toISOString().replace(/\.\d{3}Z$/, 'Z');
}

/** Signs and wraps. */
export function envelope(signed: Json, signers: readonly SimulatedKey[]): Buffer {
  const message = Buffer.from(canonical(signed));
  const signatures = signers.map(({ id, privateKey }) => ({
    keyid: id,
    sig: sign(privateKey.asymmetricKeyType === 'ec' ? 'sha256' : null, message, privateKey).toString('hex'),
  }));
  return Buffer.from(JSON.stringify({ signed, signatures }));
}

/** OLPC canonical JSON: keys in order, quotes and backslashes escaped, all else as it is. */
function canonical(value: Json): string {
  if (typeof value === 'string') return `"${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
  if (value === null || typeof value !== 'object') return String(value);
  if (isList(value)) return `[${value.map(canonical).join(',')}]`;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, each]) => `${canonical(key)}:${canonical(each)}`).join(',')}}`;
}

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}

function nameKey(fields: Fields, privateKey: KeyObject): SimulatedKey {
  return { id: createHash('sha256').update(canonical(fields)).digest('hex'), fields, privateKey };
}
