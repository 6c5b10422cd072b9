import { busContract } from '../../test/support/bus-contract.ts';
import { MemoryBus } from './memory-bus.ts';

const bus = new MemoryBus({ maxTopicBytes: 1_500_000 });

busContract('in process', async () => bus.connect());
