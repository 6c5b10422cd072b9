/** Order of floats as the order of whole numbers: negative numbers inverted, others with the sign set, -0 as 0. Exact. */
export function orderKey(bits: number): number {
  if (bits === 0x80000000) return 0x80000000;
  return (bits & 0x80000000) !== 0 ? ~bits >>> 0 : (bits | 0x80000000) >>> 0;
}

/** The same in a shader. */
export const ORDER_KEY_WGSL = /* wgsl */ `
fn orderKey(bits: u32) -> u32 {
  if (bits == 0x80000000u) { return 0x80000000u; }
  return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}
`;
