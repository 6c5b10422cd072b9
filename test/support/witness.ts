import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { formatVerifierKey, noteKey, verifyCheckpoint, verifyConsistency } from '../../src/audit/index.ts';

/** A witness as C2SP tlog-witness describes it, written from there: it shares only the tree's arithmetic with the product. */
export class TestWitness {
  readonly vkey: string;
  readonly #name: string;
  readonly #privateKey: KeyObject;
  readonly #keyId: Buffer;
  readonly #logs: ReadonlyMap<string, readonly string[]>;
  readonly #seen = new Map<string, { size: number; root: string }>();
  #server: Server | undefined;
  /** Requests answered, by status. */
  readonly answered: number[] = [];

  /** `logs`: public keys (SPKI PEM) by origin. */
  constructor(name: string, logs: ReadonlyMap<string, readonly string[]>) {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    const key = noteKey(name, publicKey.export({ format: 'pem', type: 'spki' }).toString(), 4);
    if (key === undefined) throw new TypeError('an ed25519 key makes a note key');
    this.#name = name;
    this.#privateKey = privateKey;
    this.#keyId = key.id;
    this.#logs = logs;
    this.vkey = formatVerifierKey(key);
  }

  async listen(): Promise<string> {
    const server = createServer((request, response) => {
      let body = '';
      request.on('data', (chunk: Buffer) => {
        body += chunk.toString();
      });
      request.on('end', () => {
        const isCall = request.method === 'POST' && request.url === '/add-checkpoint';
        const [status, text, type] = isCall ? this.addCheckpoint(body) : ([404, ''] as const);
        this.answered.push(status);
        response.writeHead(status, { 'content-type': type ?? 'text/plain' }).end(text);
      });
    });
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.#server?.closeAllConnections();
    await new Promise((resolve) => this.#server?.close(resolve));
  }

  addCheckpoint(request: string): readonly [number, string, string?] {
    const end = request.indexOf('\n\n');
    const [first = '', ...proof] = request.slice(0, end).split('\n');
    const old = /^old (0|[1-9]\d*)$/.exec(first)?.[1];
    const note = request.slice(end + 2);
    if (end < 0 || old === undefined || proof.length > 63) return [400, ''];
    const origin = note.split('\n')[0] ?? '';
    const keys = this.#logs.get(origin);
    if (keys === undefined) return [404, ''];
    let checkpoint: ReturnType<typeof verifyCheckpoint>;
    try {
      checkpoint = verifyCheckpoint(note, keys);
    } catch {
      return [403, ''];
    }
    const { size, root } = checkpoint;
    const from = Number(old);
    if (from > size) return [400, ''];
    const seen = this.#seen.get(origin) ?? { size: 0, root: '47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' };
    if (seen.size !== from) return [409, `${seen.size}\n`, 'text/x.tlog.size'];
    if (from === size && seen.root !== root) return [409, ''];
    const isConsistent = verifyConsistency({
      from,
      to: size,
      fromRoot: Buffer.from(seen.root, 'base64'),
      toRoot: Buffer.from(root, 'base64'),
      hashes: proof.map((line) => Buffer.from(line, 'base64')),
    });
    if (!isConsistent) return [422, ''];
    this.#seen.set(origin, { size, root });
    return [200, this.cosign(note)];
  }

  /** A cosignature/v1 line over whatever it is given. */
  cosign(note: string, seconds = 1_679_315_147): string {
    const body = note.slice(0, note.indexOf('\n\n') + 1);
    const time = Buffer.alloc(8);
    time.writeBigUInt64BE(BigInt(seconds));
    const message = Buffer.from(`cosignature/v1\ntime ${seconds}\n${body}`);
    const signature = Buffer.concat([this.#keyId, time, sign(null, message, this.#privateKey)]);
    return `— ${this.#name} ${signature.toString('base64')}\n`;
  }
}
