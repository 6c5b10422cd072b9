import assert from 'node:assert/strict';
import { appendFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { ethernet, FLAG, ipv4, pcapFile, tcp } from '../../../test/support/packets.ts';
import { openCaptureFolder } from './capture-folder.ts';

const root = mkdtempSync(join(tmpdir(), 'folder-'));
after(() => rmSync(root, { recursive: true }));

const SYN = ethernet(0x0800, ipv4('10.0.0.3', '10.0.0.4', 6, tcp(5, 6, FLAG.syn)));
const CAPTURE = pcapFile(Array.from({ length: 30 }, (_, i) => ({ bytes: SYN, timeMs: i })));
const RECORD = (CAPTURE.length - 24) / 30;
const HEADER = CAPTURE.subarray(0, 24);
const part = (from: number, to: number) => CAPTURE.subarray(24 + from * RECORD, 24 + to * RECORD);

function folderOf(name: string, files: Readonly<Record<string, readonly Uint8Array[]>>): string {
  const folder = join(root, name);
  mkdirSync(folder);
  for (const [file, parts] of Object.entries(files)) writeFileSync(join(folder, file), Buffer.concat(parts));
  return folder;
}

const read = { follow: false, pollMs: 5, onFault: (code: string) => assert.fail(code) };

test('reads the files of a folder as one capture, numbers by value', async () => {
  const folder = folderOf('ordered', {
    cap: [HEADER, part(0, 5)],
    cap10: [HEADER, part(20, 30)],
    cap2: [HEADER, part(5, 20)],
    '.hidden': [HEADER],
  });
  const source = await openCaptureFolder(folder, read);
  const chunks: Uint8Array[] = [];
  for await (const chunk of source.chunks) chunks.push(chunk);
  assert.deepEqual(Buffer.concat(chunks), Buffer.from(CAPTURE));
});

test('leaves out a packet that the end of a file cuts, and says so', async () => {
  const folder = folderOf('cut', {
    a: [HEADER, part(0, 2), part(2, 3).subarray(0, 20)],
    b: [HEADER, part(3, 4)],
  });
  const faults: string[] = [];
  const source = await openCaptureFolder(folder, { ...read, onFault: (code) => faults.push(code) });
  const chunks: Uint8Array[] = [];
  for await (const chunk of source.chunks) chunks.push(chunk);
  assert.deepEqual(Buffer.concat(chunks), Buffer.concat([HEADER, part(0, 2), part(3, 4)]));
  assert.deepEqual(faults, ['truncated-packet-record']);
});

test('follows what grows and what is added, until it is stopped', async () => {
  const folder = folderOf('followed', { 'a-1': [HEADER, part(0, 1)] });
  const source = await openCaptureFolder(folder, { ...read, follow: true });
  assert.equal(source.lingers, true);
  const steps = [
    () => appendFileSync(join(folder, 'a-1'), Buffer.concat([part(1, 3), part(3, 4).subarray(0, 9)])),
    () => appendFileSync(join(folder, 'a-1'), part(3, 4).subarray(9)),
    () => writeFileSync(join(folder, 'a-2'), Buffer.concat([HEADER, part(4, 6)])),
    () => source.stop(),
  ];
  const chunks: Uint8Array[] = [];
  const ends = [1, 3, 4, 6].map((records) => 24 + records * RECORD);
  for await (const chunk of source.chunks) {
    chunks.push(chunk);
    if (Buffer.concat(chunks).length === ends[0]) {
      ends.shift();
      steps.shift()?.();
    }
  }
  assert.deepEqual(Buffer.concat(chunks), Buffer.concat([HEADER, part(0, 6)]));
});

test('refuses an empty folder, and captures of different kinds', async () => {
  await assert.rejects(openCaptureFolder(folderOf('empty', {}), read), { code: 'traffic.source-missing' });
  const text = folderOf('text', { a: [Buffer.from('no capture, but long enough')] });
  await assert.rejects(openCaptureFolder(text, read), { code: 'traffic.follow-unsupported' });
  const other = Uint8Array.from(HEADER);
  other[20] = 101;
  const source = await openCaptureFolder(folderOf('mixed', { a: [HEADER, part(0, 1)], b: [other] }), read);
  const drain = async () => {
    for await (const _ of source.chunks);
  };
  await assert.rejects(drain(), { code: 'traffic.follow-unsupported' });
});
