import { isIP } from 'node:net';
import type { Bytes } from '../../base/index.ts';
import { parseAddress } from '../address.ts';
import { TrafficError } from '../errors.ts';

/** Where a collector listens, and whom it hears. */
export interface CollectorAddress {
  readonly protocol: 'netflow' | 'ipfix';
  readonly host: string;
  readonly port: number;
  /** Canonical addresses of exporters; undefined for any. */
  readonly allow: ReadonlySet<string> | undefined;
  /** Receive buffer of the socket; the system's own where it is undefined. */
  readonly receiveBuffer?: Bytes;
}

/** Whether a source is the address of a collector. */
export function isCollectorAddress(source: string): boolean {
  return /^(netflow|ipfix):\/\//.test(source);
}

const MAX_RECEIVE_BUFFER: Bytes = 1 << 28;

/**
 * Reads `netflow://address:port` (NetFlow v5 and v9) or `ipfix://address:port`, with `?allow=address,address` or
 * `?allow=any` and `?buffer=bytes`. Flow exports are neither signed nor encrypted, so a collector that does not
 * listen on loopback must say whom it hears. Throws `traffic.collector-address-invalid`.
 */
export function parseCollectorAddress(source: string): CollectorAddress {
  const invalid = (why: string) =>
    new TrafficError(
      'traffic.collector-address-invalid',
      `expected netflow://address:port or ipfix://address:port, ${why}`,
    );
  const parts = /^(netflow|ipfix):\/\/(\[[0-9a-fA-F:.]+\]|[0-9.]+):(\d{1,5})(?:\?(.*))?$/.exec(source);
  if (parts === null) throw invalid('with an IP address (IPv6 in brackets) and a port');
  const protocol = parts[1] === 'ipfix' ? 'ipfix' : 'netflow';
  const host = (parts[2] ?? '').replace(/[[\]]/g, '');
  const port = Number(parts[3]);
  if (isIP(host) === 0) throw invalid(`${host} is no IP address`);
  if (port > 65_535) throw invalid(`${port} is no port`);
  const settings = new URLSearchParams(parts[4] ?? '');
  const unknown = [...settings.keys()].find((name) => name !== 'allow' && name !== 'buffer');
  if (unknown !== undefined) throw invalid('settings are allow and buffer');
  const allowed = settings.get('allow');
  if (allowed === null && !/^127\.|^::1$/.test(host)) {
    throw invalid(`${host} is no loopback address: add ?allow= with the exporters' addresses, or allow=any`);
  }
  const buffer = settings.get('buffer');
  const receiveBuffer = Number(buffer);
  if (
    buffer !== null &&
    !(Number.isInteger(receiveBuffer) && receiveBuffer > 0 && receiveBuffer <= MAX_RECEIVE_BUFFER)
  ) {
    throw invalid(`buffer is a number of bytes up to ${MAX_RECEIVE_BUFFER}`);
  }
  return {
    protocol,
    host,
    port,
    allow: allowed === null || allowed === 'any' ? undefined : new Set(allowed.split(',').map(canonical)),
    ...(buffer !== null && { receiveBuffer }),
  };

  function canonical(text: string): string {
    const address = parseAddress(text.trim());
    if (address === undefined) throw invalid('allow holds something that is no IP address');
    return address.text;
  }
}
