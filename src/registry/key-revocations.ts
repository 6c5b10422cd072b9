import { z } from 'zod';
import type { AuditEntry } from '../audit/index.ts';
import type { Milliseconds } from '../base/index.ts';
import type { KeyInfo } from '../crypto/index.ts';
import { timeField } from './gate-report.ts';

export const REVOKE = 'key.revoke';

/** From when on the signatures of a key no longer count. */
export interface KeyRevocation {
  /** Index of the revocation's intent: what the log got later is not believed. */
  readonly intent: number;
  /** Where the key is known to have been in other hands earlier. */
  readonly from?: Milliseconds;
}

const DETAIL = z.object({ from: timeField.nullable() });

/**
 * When keys were revoked, as the audit log tells it. The key store says only that a key is revoked; the log's order is
 * what nobody can change afterwards, so that it decides what a key signed before and what after.
 */
export class KeyRevocations {
  readonly #revocations = new Map<string, KeyRevocation>();
  readonly #open = new Map<number, { readonly keyId: string; readonly revocation: KeyRevocation }>();

  add(index: number, entry: AuditEntry): void {
    if (entry.action !== REVOKE) return;
    if (entry.kind === 'intent') {
      const detail = DETAIL.safeParse(entry.detail);
      if (!detail.success) return;
      const { from } = detail.data;
      const revocation = { intent: index, ...(from !== null && { from: Date.parse(from) }) };
      this.#open.set(index, { keyId: entry.subject, revocation });
      return;
    }
    const settled = this.#open.get(entry.intent ?? -1);
    if (settled === undefined) return;
    this.#open.delete(entry.intent ?? -1);
    if (entry.result === 'done') this.#revocations.set(settled.keyId, settled.revocation);
  }

  find(keyId: string): KeyRevocation | undefined {
    return this.#revocations.get(keyId);
  }

  /** Whether a signature that the log bound to this index and time no longer counts. */
  covers(key: KeyInfo, signed: { readonly intent: number; readonly time: string }): boolean {
    const revocation = this.find(key.id);
    // Revoked by the key store alone: nothing tells what came before.
    if (revocation === undefined) return key.state === 'revoked';
    const { intent, from } = revocation;
    return signed.intent > intent || (from !== undefined && Date.parse(signed.time) >= from);
  }
}
