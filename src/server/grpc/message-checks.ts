import { ServerError } from '../errors.ts';
import { MALFORMED } from './service-definition.ts';

/** Throws `server.body-malformed` where a message could not be decoded. */
export function checkDecoded(message: unknown): void {
  if (message !== MALFORMED) return;
  throw new ServerError('server.body-malformed', 'the message is not one of this method');
}

/** A version as a message tells it; empty means whichever is in place. */
export function checkVersion(version: string): string | undefined {
  return version === '' ? undefined : version;
}

/** There is one repository here, and it has no name. Throws `server.request-invalid`. */
export function checkRepository(name: string): void {
  if (name !== '') throw new ServerError('server.request-invalid', 'repository_name: expected none');
}
