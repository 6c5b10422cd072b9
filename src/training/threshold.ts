import type { ThresholdPolicy } from './config.ts';

/**
 * The threshold by policy, from held-out rows only: the fixed value, or the lowest at which at most `target` of the
 * held-out benign rows lie at or above it. Probabilities are float32, as the model gives them. Where more benign rows
 * than allowed have probability 1, no threshold reaches the target and 1 is given.
 */
export function chooseThreshold(
  policy: ThresholdPolicy,
  probability: Float32Array,
  labels: Uint8Array,
): number {
  if (policy.kind === 'fixed') return policy.value;
  const benign = probability.filter((_, i) => labels[i] === 0).sort();
  const allowed = Math.floor(policy.target * benign.length);
  if (benign.length === 0 || allowed >= benign.length) return 0;
  // The largest probability that must stay below the threshold.
  const below = benign[benign.length - 1 - allowed] as number;
  return Math.min(1, nextFloat32(below));
}

function nextFloat32(x: number): number {
  const float = Float32Array.of(x);
  const bits = new Uint32Array(float.buffer);
  bits[0] = (bits[0] as number) + 1;
  return float[0] as number;
}
