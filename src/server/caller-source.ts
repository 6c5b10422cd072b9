import { BlockList, isIP } from 'node:net';
import type { ServedGuardian } from './handler.ts';

/** Addresses of a header that are looked at: the nearest ones. */
const MOST_HOPS = 16;

/** Proxies whose word on whom they speak for is taken; none by default. Addresses, or networks such as `10.0.0.0/8`. */
export class TrustedProxies {
  readonly #list = new BlockList();
  readonly #isEmpty: boolean;

  constructor(networks: readonly string[]) {
    this.#isEmpty = networks.length === 0;
    for (const network of networks) {
      const [address = '', bits] = network.split('/');
      const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
      if (bits === undefined) this.#list.addAddress(address, family);
      else this.#list.addSubnet(address, Number(bits), family);
    }
  }

  /**
   * Whom a request comes from: the peer, or, where that is a trusted proxy, the nearest address of `X-Forwarded-For` that is none.
   * What stands before that one was written by whoever came, and is not believed. For what a canary sticks to; who may come in, and
   * how often, is decided by the peer.
   */
  sourceOf(peer: string, forwardedFor: string | readonly string[] | undefined): string {
    if (this.#isEmpty || forwardedFor === undefined || !this.#has(peer)) return peer;
    const hops = [forwardedFor].flat().join(',').split(',').slice(-MOST_HOPS);
    let source = peer;
    for (const hop of hops.toReversed()) {
      const address = hop.trim();
      if (isIP(address) === 0) return source;
      source = address;
      if (!this.#has(address)) return source;
    }
    return source;
  }

  #has(address: string): boolean {
    const family = isIP(address);
    return family !== 0 && this.#list.check(address, family === 6 ? 'ipv6' : 'ipv4');
  }
}

const known = new WeakMap<ServedGuardian['config'], TrustedProxies>();

/** Those of a guardian's configuration. */
export function trustedProxies({ config }: Pick<ServedGuardian, 'config'>): TrustedProxies {
  let found = known.get(config);
  if (found === undefined) {
    found = new TrustedProxies(config.server.trustedProxies);
    known.set(config, found);
  }
  return found;
}
