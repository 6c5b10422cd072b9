import { ServerError } from '../errors.ts';

/** A version as a message tells it; empty means whichever is in place. */
export function checkVersion(version: string): string | undefined {
  return version === '' ? undefined : version;
}

/** There is one repository here, and it has no name. Throws `server.request-invalid`. */
export function checkRepository(name: string): void {
  if (name !== '') throw new ServerError('server.request-invalid', 'repository_name: expected none');
}
