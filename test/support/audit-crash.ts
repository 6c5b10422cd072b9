import { writeSync } from 'node:fs';
import { join } from 'node:path';
import { openAuditLog } from '../../src/audit/index.ts';
import { armFaultPoints } from '../../src/base/index.ts';
import { openFileKeyStore } from '../../src/crypto/index.ts';
import { clock, note, onDemand } from './audit-log.ts';

/** Opens the log under `root`, appends 270 entries in groups, checkpoints between, closes. Tells each entry that is durable. */
export async function auditWorkload(root: string, onDurable: (n: number) => void): Promise<void> {
  const keys = await openKeys(root);
  const log = await openAuditLog({ folder: join(root, 'audit'), keys, clock, policy: onDemand });
  for (const [from, to] of [
    [0, 3],
    [3, 4],
    [4, 250],
    [250, 270],
  ] as const) {
    const group = Array.from({ length: to - from }, (_, i) => from + i);
    await Promise.all(group.map(async (n) => log.append(note(n)).then(() => onDurable(n))));
    if (to !== 4) await log.checkpoint();
  }
  await log.close();
}

export function openKeys(root: string) {
  const secret = { kind: 'file', path: join(root, 'unlock.key') } as const;
  return openFileKeyStore({ path: join(root, 'keys.json'), secret, clock });
}

/** As a child: `ROOT FAULT NTH` dies by SIGKILL when the fault point is passed for the nth time; acknowledged entries go to stdout. */
if (import.meta.main) {
  const [root, fault, nth] = process.argv.slice(2);
  let passed = 0;
  armFaultPoints((name) => {
    if (name !== fault) return;
    passed++;
    if (passed === Number(nth)) process.kill(process.pid, 'SIGKILL');
  });
  await auditWorkload(root ?? '', (n) => writeSync(1, `${n}\n`));
}
