import { z } from 'zod';

/** The section `queue` of the configuration: events that wait on the bus for workers. */
export const queueConfigSchema = z.strictObject({
  partitions: z
    .int()
    .min(1)
    .max(256)
    .default(16)
    .describe('workers that can share the streams at most; changed between two starts, what waits is kept'),
  keepResultsDays: z
    .int()
    .min(1)
    .max(3_650)
    .default(7)
    .describe('how long the result of an event is kept, and a second one is known for what it is'),
});

export type QueueConfig = z.output<typeof queueConfigSchema>;
