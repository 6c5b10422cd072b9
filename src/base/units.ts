/** Milliseconds; as a point in time, since 1970-01-01 UTC. May have a fraction. */
export type Milliseconds = number;
/** Bytes, a whole number. */
export type Bytes = number;
/** A probability in [0, 1]. */
export type Probability = number;
/** `sha256:` and 64 lowercase hexadecimal digits. */
export type Digest = `sha256:${string}`;
