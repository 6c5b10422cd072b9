import type { Domain } from './domain-table.ts';

/** A jump further than this is an exporter that began anew, not a loss. */
const MAX_LOSS = 1 << 24;
/** A message this far behind was overtaken on the way. */
const MAX_LATE = 4096;

/**
 * How many flows (v5), messages (v9) or data records (IPFIX) are missing before the message that carries `sequence`,
 * and sets what the next one should carry: `step` further. NetFlow v5 counts flows, v9 messages, IPFIX data records
 * before the message. 'late' is a message overtaken on the way
 * (its loss stays counted) or an exporter that went back a little; what is expected next stays.
 */
export function checkSequence(domain: Domain, sequence: number, step: number): number | 'restart' | 'late' {
  const expected = domain.nextSequence;
  const next = (sequence + step) % 2 ** 32;
  if (expected === undefined) {
    domain.nextSequence = next;
    return 0;
  }
  const ahead = (sequence - expected) | 0;
  if (ahead < 0 && ahead >= -MAX_LATE) {
    return 'late';
  }
  domain.nextSequence = next;
  if (ahead < 0 || ahead > MAX_LOSS) return 'restart';
  return ahead;
}
