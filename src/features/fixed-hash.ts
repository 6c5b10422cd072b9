/** A bijection of 32-bit words that spreads each bit over all (MurmurHash3's finalizer, A. Appleby). */
export function mixWord(word: number): number {
  let h = word;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/**
 * One word for an address of four: different for each IPv4 address; two IPv6 addresses share theirs by chance of 2^-32.
 * The same in every process, since what is estimated from it must be the same in training and live.
 */
export function hashAddress(a: number, b: number, c: number, d: number, version: number): number {
  const h = mixWord(a ^ version);
  return (b | c | d) === 0 ? h : mixWord(mixWord(mixWord(h + b) + c) + d);
}
