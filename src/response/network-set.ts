import { type IpAddress, type IpNetwork, networkContains, parseNetwork } from './address.ts';
import { ResponseError } from './errors.ts';

/** An entry as the operator wrote it. */
export interface NetworkEntry {
  /** Address or network, such as `192.0.2.7` or `2001:db8::/32`. */
  readonly network: string;
  /** Why it is there; shown wherever the entry decides something. */
  readonly reason: string;
  /** Milliseconds since 1970 UTC from when on the entry says nothing; absent means it never expires. */
  readonly expiresMs?: number;
}

interface Parsed {
  readonly entry: NetworkEntry;
  readonly network: IpNetwork;
}

/**
 * Addresses and networks with a reason each. Immutable. An entry that cannot be read is refused with
 * `response.bad-network`: an allow-list entry that is silently skipped is found out when it is too late.
 */
export class NetworkSet {
  readonly #networks: readonly Parsed[];

  constructor(entries: readonly NetworkEntry[] = []) {
    this.#networks = entries.map((entry) => {
      const network = parseNetwork(entry.network);
      if (network === undefined) {
        throw new ResponseError(
          'response.bad-network',
          `expected an IP address or a network with zero host bits, got ${JSON.stringify(entry.network)}`,
        );
      }
      return { entry, network };
    });
  }

  get size(): number {
    return this.#networks.length;
  }

  /** The most specific entry in force that contains the address. */
  find(address: IpAddress, nowMs: number): NetworkEntry | undefined {
    let found: Parsed | undefined;
    for (const parsed of this.#networks) {
      if (parsed.entry.expiresMs !== undefined && parsed.entry.expiresMs <= nowMs) continue;
      if (found !== undefined && parsed.network.prefix <= found.network.prefix) continue;
      if (networkContains(parsed.network, address)) found = parsed;
    }
    return found?.entry;
  }

  /** A set with these entries besides. */
  with(entries: readonly NetworkEntry[]): NetworkSet {
    return new NetworkSet([...this.#networks.map(({ entry }) => entry), ...entries]);
  }

  list(): readonly NetworkEntry[] {
    return this.#networks.map(({ entry }) => entry);
  }
}
