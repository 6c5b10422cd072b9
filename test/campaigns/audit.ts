import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openAuditLog, verifyAuditLog } from '../../src/audit/index.ts';
import { clock, memoryKeys, note, onDemand } from '../support/audit-log.ts';
import { writeBulkLog } from '../support/bulk-audit-log.ts';

/**
 * Ten million entries: written in the log's own formats, verified whole by a process of its own, whose memory is
 * watched, and opened. `--entries N` for another size, `--folder F` for another disk.
 */

const { values } = parseArgs({
  options: {
    entries: { type: 'string', default: '10000000' },
    folder: { type: 'string', default: process.cwd() },
    verify: { type: 'string' },
    key: { type: 'string', default: '' },
  },
});
/** Far below the log, and what a small log takes, too. */
const RSS_LIMIT_MIB = 512;
const mib = (bytes: number) => Math.round(bytes / 2 ** 20);
const seconds = (since: number) => Number(((performance.now() - since) / 1000).toFixed(2));

process.exitCode = await (values.verify === undefined ? campaign() : verify(values.verify));

/** In the child: verifies and tells the size and the most memory it ever held. */
async function verify(folder: string): Promise<number> {
  const started = performance.now();
  const logPublicKeyPem = Buffer.from(values.key, 'base64').toString();
  const { size, root } = await verifyAuditLog({ folder, logPublicKeyPem });
  const peakMiB = Math.round(process.resourceUsage().maxRSS / 1024);
  process.stdout.write(JSON.stringify({ size, root, seconds: seconds(started), peakMiB }));
  return 0;
}

async function campaign(): Promise<number> {
  const count = Number(values.entries);
  const place = await mkdtemp(join(values.folder, '.campaign-audit-'));
  const folder = join(place, 'audit');
  try {
    const { keys, logPublicKeyPem } = await memoryKeys();
    let started = performance.now();
    await writeBulkLog({ folder, keys, count, entry: note });
    const writeSeconds = seconds(started);
    process.stdout.write(`${count} entries written in ${writeSeconds} s\n`);

    const key = Buffer.from(logPublicKeyPem).toString('base64');
    const child = spawn(process.execPath, [import.meta.filename, '--verify', folder, '--key', key], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let told = '';
    child.stdout.on('data', (chunk: Buffer) => {
      told += chunk.toString();
    });
    const [code] = await once(child, 'close');
    if (code !== 0) return 1;
    const verified = JSON.parse(told) as { size: number; root: string; seconds: number; peakMiB: number };

    const before = process.memoryUsage.rss();
    started = performance.now();
    const log = await openAuditLog({ folder, keys, clock, policy: onDemand });
    const openMs = Math.round(performance.now() - started);
    started = performance.now();
    await log.inclusionProof(Math.floor(count / 3));
    const proofMs = Number((performance.now() - started).toFixed(1));
    await log.append(note(count));
    const isWhole = verified.size === count && log.size === count + 1;
    await log.close();
    const passed = isWhole && verified.peakMiB <= RSS_LIMIT_MIB;
    const result = {
      type: 'campaign.result',
      name: 'audit',
      entries: count,
      writeSeconds,
      verifySeconds: verified.seconds,
      verifyPeakMiB: verified.peakMiB,
      limitMiB: RSS_LIMIT_MIB,
      openMs,
      openGrewMiB: mib(process.memoryUsage.rss() - before),
      proofMs,
      passed,
    };
    process.stdout.write(`${JSON.stringify(result)}\n`);
    return passed ? 0 : 1;
  } finally {
    await rm(place, { recursive: true });
  }
}
