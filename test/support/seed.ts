import { configureGlobal } from 'fast-check';

/** Every property test draws from this seed, so that a failure repeats; GUARDIAN_TEST_SEED sets another. */
export const TEST_SEED = Number(process.env.GUARDIAN_TEST_SEED ?? 20_260_101);

configureGlobal({ seed: TEST_SEED });
