import { type Bus, BusError } from '../../src/bus/index.ts';

const COUNTED = ['request', 'get', 'put', 'putObject', 'getObject', 'deleteObject'] as const;

/**
 * A connection whose process dies at a call: that call and all after it fail, renewals of leases among them. Renewals are
 * not counted, since they come by the clock.
 */
export function mortalBus(bus: Bus, after: number): { readonly bus: Bus; calls(): number } {
  let calls = 0;
  const count = (name: string) => {
    if (!name.endsWith('.coordinator')) calls++;
    if (calls > after) throw new BusError('bus.closed', 'this process is dead');
  };
  const mortal = Object.create(bus) as Record<string, unknown>;
  for (const method of COUNTED) {
    mortal[method] = async (name: string, ...rest: unknown[]) => {
      count(name);
      return await (bus[method] as (...all: unknown[]) => Promise<unknown>).call(bus, name, ...rest);
    };
  }
  mortal.watch = bus.watch.bind(bus);
  return { bus: mortal as unknown as Bus, calls: () => calls };
}
