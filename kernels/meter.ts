export function ready(): u32 {
  return 1;
}
