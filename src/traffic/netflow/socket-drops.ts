import { readFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';

/**
 * Datagrams that the system dropped because the receive buffer of a bound UDP socket was full, since it was bound;
 * 0 where the system does not tell (it does in Linux: proc(5), /proc/net/udp, column `drops`).
 */
export async function readSocketDrops({ port, family }: AddressInfo): Promise<number> {
  const file = family === 'IPv6' ? '/proc/net/udp6' : '/proc/net/udp';
  let text: string;
  try {
    text = await readFile(file, 'latin1');
  } catch {
    return 0;
  }
  const local = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  for (const line of text.split('\n')) {
    const fields = line.trim().split(/\s+/);
    if (fields[1]?.endsWith(local) === true) return Number(fields.at(-1)) || 0;
  }
  return 0;
}
