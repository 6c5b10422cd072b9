import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import {
  type AuditLog,
  formatVerifierKey,
  noteKey,
  openAuditLog,
  readTileResource,
} from '../../src/audit/index.ts';
import { canonicalJson } from '../../src/crypto/index.ts';
import { clock, memoryKeys, note, onDemand } from '../support/audit-log.ts';
import { requireTool } from '../support/requires.ts';

const PROGRAM = fileURLToPath(new URL('./tlog', import.meta.url));
/** More than two levels of tiles would need; 66,000 gives a full tile of level 1, and partial ones of 0, 1 and 2. */
const SIZE = 66_000;

let place: string;
let log: AuditLog;
let server: Server;
let base: string;
let verifierKey: string;

before(async () => {
  place = await mkdtemp(join(tmpdir(), 'tlog-'));
  const folder = join(place, 'audit');
  const { keys, logPublicKeyPem } = await memoryKeys();
  log = await openAuditLog({ folder, keys, clock, policy: onDemand, origin: 'example.com/guardian' });
  for (let n = 0; n < SIZE; n += 500) {
    await Promise.all(Array.from({ length: 500 }, (_, i) => log.append(note(n + i))));
  }
  await log.checkpoint();
  const key = noteKey(log.origin, logPublicKeyPem);
  assert.ok(key !== undefined);
  verifierKey = formatVerifierKey(key);
  server = createServer(async (request, response) => {
    const path = request.url ?? '';
    try {
      const isTile = path.startsWith('/tile/');
      const { bytes } = isTile
        ? await readTileResource(folder, path.slice('/tile/'.length))
        : { bytes: await readFile(join(folder, 'checkpoint')) };
      response.end(bytes);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

after(async () => {
  server.closeAllConnections();
  server.close();
  await log.close();
  await rm(place, { recursive: true });
});

/** Runs the Go program on a case; its exit code and what it said. */
async function check(
  suite: Record<string, unknown>,
): Promise<{ code: number; answer: string; complaints: string }> {
  const child = spawn('go', ['run', '.'], { cwd: PROGRAM, stdio: ['pipe', 'pipe', 'pipe'] });
  // Apart: the first run tells on stderr what it downloads.
  const texts = [child.stdout, child.stderr].map((stream) => stream.setEncoding('utf8').toArray());
  child.stdin.end(JSON.stringify(suite));
  const [code] = await once(child, 'close');
  const [answer, complaints] = await Promise.all(texts);
  return { code, answer: (answer ?? []).join(''), complaints: (complaints ?? []).join('') };
}

test('golang.org/x/mod/sumdb verifies our note, fetches our tiles and agrees with our proofs', async (t) => {
  if (!requireTool(t, 'go')) return;
  const proofs = [];
  for (const index of [0, 1, 255, 256, 65_535, 65_536, 65_999]) {
    const { hashes } = await log.inclusionProof(index);
    const entry = Buffer.from(canonicalJson(await log.entry(index))).toString('base64');
    proofs.push({ index, entry, hashes });
  }
  const consistency = [];
  for (const [from, to] of [
    [1, SIZE],
    [255, 256],
    [256, 65_536],
    [65_537, SIZE],
    [4_000, 50_001],
  ] as const) {
    consistency.push(await log.consistencyProof(from, to));
  }
  const { code, answer, complaints } = await check({ verifierKey, base, proofs, consistency });
  assert.equal(code, 0, complaints);
  assert.deepEqual(JSON.parse(answer), {
    size: SIZE,
    proofs: proofs.length,
    consistency: consistency.length,
  });
  const [first] = proofs;
  const swapped = { ...first, hashes: [...(first?.hashes ?? [])].reverse() };
  assert.equal((await check({ verifierKey, base, proofs: [swapped], consistency: [] })).code, 1);
});
