import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import {
  alertsConfigSchema,
  DetectionStore,
  type LostNotice,
  NoticeDelivery,
} from '../../src/alerts/index.ts';
import { ManualClock, silentLogger } from '../../src/base/index.ts';
import { openDatabase } from '../../src/storage/index.ts';
import { makeJudged } from './judged.ts';

export const SECRET = 'a secret of thirty-two characters';
export const NOW = Date.UTC(2026, 5, 1);

/** A flow that is a finding by itself. */
export const exfiltration = (source: string) =>
  makeJudged({ sourceAddress: source }, { kind: 'exfiltration' });

export function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'notices-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export function secretFile(folder: string, text = SECRET, mode = 0o600): string {
  const path = join(folder, 'secret');
  writeFileSync(path, `${text}\n`);
  chmodSync(path, mode);
  return path;
}

/** A store, and a delivery to sinks as they stand in a configuration; pauses end at once and are counted. */
export async function openNotices(t: TestContext, sinks: readonly unknown[], folder = temporaryFolder(t)) {
  const db = await openDatabase(join(folder, 'guardian.db'));
  const clock = new ManualClock(NOW);
  const pauses: number[] = [];
  const lost: LostNotice[] = [];
  const config = alertsConfigSchema.parse({ sinks });
  const delivery = new NoticeDelivery({
    ...{ config: config.sinks, queries: db.detections, settings: db.settings, clock, logger: silentLogger },
    noteLost: async (each) => void lost.push(each),
    timing: {
      random: () => 1,
      sleep: async (ms) => {
        pauses.push(ms);
        clock.advance(ms);
        await new Promise((resolve) => setImmediate(resolve));
      },
    },
  });
  const store = new DetectionStore({ queries: db.detections, clock, onStored: () => delivery.wake() });
  t.after(async () => {
    await delivery.close();
    await db.close();
  });
  return { db, clock, pauses, lost, delivery, store };
}

export interface Received {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly path: string;
}

/** A receiver whose answers `answer` decides; without it, 204. */
export async function openReceiver(
  t: TestContext,
  answer: (response: ServerResponse, n: number, got: Received) => void = (response) =>
    response.writeHead(204).end(),
  port = 0,
): Promise<{
  readonly url: string;
  readonly port: number;
  readonly got: Received[];
  readonly server: Server;
}> {
  const got: Received[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { headers, url: path = '' } = request;
      const received = { headers, body: Buffer.concat(chunks).toString('utf8'), path };
      got.push(received);
      answer(response, got.length, received);
    });
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const bound = (server.address() as AddressInfo).port;
  return { url: `http://127.0.0.1:${bound}/hook`, port: bound, got, server };
}
