import { z } from 'zod';

const MIB = 1024 * 1024;

/** `auto` measures what the machine has. */
export const EXECUTION_PROVIDERS = ['auto', 'cpu', 'webgpu', 'cuda', 'coreml'] as const;
export type ExecutionProvider = (typeof EXECUTION_PROVIDERS)[number];

export const runtimeConfigSchema = z.strictObject({
  provider: z
    .enum(EXECUTION_PROVIDERS)
    .default('auto')
    .describe(
      'what computes; anything but the CPU only if it gives the same to 1e-5, and auto if it is faster',
    ),
  memoryBytes: z
    .number()
    .int()
    .min(128 * MIB)
    .max(2 ** 40)
    .default(1024 * MIB)
    .describe('memory of the process of one model; beyond it the process is ended'),
  threads: z.number().int().min(1).max(256).default(1).describe('threads that compute one batch'),
  niceness: z.number().int().min(0).max(19).default(5).describe('how far the process stands back for others'),
  deadlineMs: z
    .number()
    .int()
    .min(100)
    .max(600_000)
    .default(10_000)
    .describe('a process that has not answered a batch by then hangs, and is ended'),
});

export type RuntimeConfig = z.output<typeof runtimeConfigSchema>;

export const RUNTIME_DEFAULTS: RuntimeConfig = runtimeConfigSchema.parse({});
