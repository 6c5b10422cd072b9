import { InvalidArgumentError } from 'commander';

/** A parser for whole numbers within bounds, both included. */
export function parseWhole(low: number, high: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < low || value > high) {
      throw new InvalidArgumentError(`expected a whole number from ${low} to ${high}.`);
    }
    return value;
  };
}

/** Reads the share of decisions that are to be right, in per cent, as the highest error rate. */
export function parseTarget(text: string): number {
  const percent = Number(text);
  if (!/^\d{1,2}(\.\d{1,9})?$/.test(text) || percent <= 0) {
    throw new InvalidArgumentError('expected a share in per cent, such as 99.99.');
  }
  return Number(((100 - percent) / 100).toPrecision(9));
}

/** A parser for one word of a closed list. */
export function parseChoice<T extends string>(choices: readonly T[]): (text: string) => T {
  return (text) => {
    const found = choices.find((choice) => choice === text);
    if (found === undefined) throw new InvalidArgumentError(`expected one of ${choices.join(', ')}.`);
    return found;
  };
}
