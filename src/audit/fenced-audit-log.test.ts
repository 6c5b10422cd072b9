import assert from 'node:assert/strict';
import { mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { clock, memoryKeys, note, onDemand } from '../../test/support/audit-log.ts';
import type { AuditLog } from './audit-log.ts';
import { fencedAuditLog } from './fenced-audit-log.ts';
import { openAuditLog } from './open-audit-log.ts';

/** Holds for so many questions, then never again. */
class CountedFence {
  left = Number.POSITIVE_INFINITY;

  async confirm(): Promise<void> {
    if (this.left <= 0) throw new TypeError('fenced');
    this.left--;
  }
}

describe('a fenced log', () => {
  let folder: string;
  let inner: AuditLog;
  let fence: CountedFence;
  let log: AuditLog;

  beforeEach(async () => {
    folder = join(mkdtempSync(join(tmpdir(), 'fenced-')), 'audit');
    const { keys } = await memoryKeys();
    inner = await openAuditLog({ folder, keys, clock, policy: onDemand });
    fence = new CountedFence();
    log = fencedAuditLog(inner, fence);
  });
  afterEach(async () => {
    await inner.close().catch(() => {});
    rmSync(join(folder, '..'), { recursive: true, force: true });
  });

  test('is the log it stands before while the fence holds', async () => {
    assert.equal(await log.append(note(0)), 0);
    assert.equal(await log.append(note(1)), 1);
    assert.equal(log.size, 2);
    assert.equal(log.origin, inner.origin);
    assert.equal((await log.checkpoint()).size, 2);
    assert.equal((await log.inclusionProof(0)).index, 0);
    assert.equal((await log.consistencyProof(1, 2)).to, 2);
    assert.equal((await log.entry(1)).action, note(1).action);
    assert.deepEqual(await log.openIntents(), []);
    assert.equal((await Array.fromAsync(log.entries())).length, 2);
    await log.close();
  });

  test('appends nothing once the fence has fallen', async () => {
    fence.left = 0;
    await assert.rejects(log.append(note(0)), /fenced/);
    await assert.rejects(log.checkpoint(), /fenced/);
    assert.equal(inner.size, 0);
  });

  test('does not acknowledge what was written while the fence fell', async () => {
    fence.left = 1;
    await assert.rejects(log.append(note(0)), /fenced/);
    assert.equal(inner.size, 1);
  });

  test('calls files that are gone a loss of the lease, and closes without them', async () => {
    await log.append(note(0));
    renameSync(folder, `${folder}-2`);
    await assert.rejects(log.entry(0), { category: 'security' });
    fence.left = 0;
    await assert.rejects(log.entry(0), /fenced/);
    await assert.rejects(Array.fromAsync(log.entries()), /fenced/);
    await log.close();
  });
});
