import type { Datagram, LaterFragment } from './read-packet.ts';

/** What later fragments of a datagram cannot say of themselves. */
export interface FragmentPorts {
  readonly protocol: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

const MAX_DATAGRAMS = 256;
const MAX_AGE_MS = 30_000;

/** The ports of the last 256 datagrams that began in fragments, the newest last. */
export class FragmentMemory {
  readonly #datagrams: { readonly key: string; readonly clock: number; readonly ports: FragmentPorts }[] = [];

  /** Notes the first fragment of a datagram. */
  note(first: Datagram, clock: number): void {
    const { protocol, sourcePort, destinationPort } = first;
    const key = datagramKey(first, first.version === 4 ? protocol : 44, first.fragmentId);
    this.#datagrams.push({ key, clock, ports: { protocol, sourcePort, destinationPort } });
    if (this.#datagrams.length > MAX_DATAGRAMS) this.#datagrams.shift();
  }

  portsOf(fragment: LaterFragment, clock: number): FragmentPorts | undefined {
    const key = datagramKey(fragment, fragment.fragmentProtocol, fragment.fragmentId);
    const found = this.#datagrams.findLast((datagram) => datagram.key === key);
    return found !== undefined && clock - found.clock <= MAX_AGE_MS ? found.ports : undefined;
  }

  clear(): void {
    this.#datagrams.length = 0;
  }
}

function datagramKey(
  { version, source, destination, tunnel }: Datagram | LaterFragment,
  protocol: number,
  id: number | undefined,
): string {
  return [version, ...source, ...destination, protocol, id, tunnel?.kind, tunnel?.id].join();
}
