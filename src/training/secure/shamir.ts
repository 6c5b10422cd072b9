import { randomBytes } from 'node:crypto';

/**
 * Shamir's secret sharing over GF(2^8) with the polynomial of AES, byte by byte: any `threshold` shares give the secret,
 * fewer say nothing of it. A wrong share gives a wrong secret without notice: whoever combines checks a commitment.
 * (Shamir, "How to share a secret", 1979.)
 */
export interface Share {
  /** 1 to 255, another for each share. */
  readonly x: number;
  readonly bytes: Uint8Array;
}

/** One share for each `x` of 1 to `count`. `random` gives that many bytes nobody can foresee. */
export function splitSecret(
  secret: Uint8Array,
  { threshold, count }: { readonly threshold: number; readonly count: number },
  random: (n: number) => Uint8Array = randomBytes,
): Share[] {
  const coefficients = Array.from({ length: threshold - 1 }, () => random(secret.length));
  const shares = Array.from({ length: count }, (_, i) => {
    const x = i + 1;
    const bytes = new Uint8Array(secret.length);
    for (let b = 0; b < secret.length; b++) {
      let y = 0;
      for (const coefficient of coefficients) y = multiply(y ^ (coefficient[b] as number), x);
      bytes[b] = y ^ (secret[b] as number);
    }
    return { x, bytes };
  });
  for (const coefficient of coefficients) coefficient.fill(0);
  return shares;
}

/** The secret of at least `threshold` shares of one length with different `x`: the polynomials' value at 0. */
export function combineShares(shares: readonly Share[]): Uint8Array {
  const secret = new Uint8Array(shares[0]?.bytes.length ?? 0);
  for (const { x, bytes } of shares) {
    let weight = 1;
    for (const other of shares) {
      if (other.x !== x) weight = multiply(weight, multiply(other.x, invert(other.x ^ x)));
    }
    for (let b = 0; b < secret.length; b++) secret[b]! ^= multiply(bytes[b] as number, weight);
  }
  return secret;
}

/** Product in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1, without a branch or a table that depends on the factors. */
function multiply(a: number, b: number): number {
  let product = 0;
  for (let bit = 0; bit < 8; bit++) {
    product ^= a & -((b >>> bit) & 1);
    a = (a << 1) ^ (0x11b & -(a >>> 7));
  }
  return product;
}

/** a^254, which is the inverse of every a but 0. */
function invert(a: number): number {
  let result = 1;
  for (let power = 0; power < 7; power++) {
    a = multiply(a, a);
    result = multiply(result, a);
  }
  return result;
}
