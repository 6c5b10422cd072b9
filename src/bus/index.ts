export {
  type Bus,
  type BusValue,
  CONSUME_DEFAULTS,
  type ConsumeOptions,
  type Delivery,
  type RequestOptions,
  type Responder,
} from './bus.ts';
export { type BusConfig, busConfigSchema, openBus } from './config.ts';
export { BUS_ERRORS, BusError, type BusErrorCode } from './errors.ts';
export { claimLease, type Lease, type LeaseOptions } from './lease.ts';
export { MEMORY_BUS_DEFAULTS, MemoryBus, type MemoryBusOptions } from './memory-bus.ts';
export { connectNats, NATS_DEFAULTS, type NatsBusOptions } from './nats-bus.ts';
export { type QueueConfig, queueConfigSchema } from './queue-config.ts';
export { SealedBus, type SealRefusals, sealBus } from './sealed-bus.ts';
