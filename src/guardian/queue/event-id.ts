import { createHash, randomBytes } from 'node:crypto';

/** What makes two requests the same event. */
export interface IdempotencyKey {
  /** Keys of different callers are different keys. */
  readonly principal: string;
  readonly key: string;
}

const BODY_CHARACTERS = 24;
const CHECK_CHARACTERS = 8;
const ID = /^[0-9a-f]{32}$/;

/**
 * 32 hexadecimal digits: 96 bits that are random or follow from the idempotency key, then a checksum of 32. The
 * checksum tells an id that was mistyped from one whose event waits; it is no proof of anything.
 */
export function newEventId(given?: IdempotencyKey): string {
  const body =
    given === undefined
      ? randomBytes(BODY_CHARACTERS / 2).toString('hex')
      : digest(`key\n${given.principal}\n${given.key}`).slice(0, BODY_CHARACTERS);
  return body + checkOf(body);
}

export function isEventId(text: string): boolean {
  return ID.test(text) && text.slice(BODY_CHARACTERS) === checkOf(text.slice(0, BODY_CHARACTERS));
}

function checkOf(body: string): string {
  return digest(`event\n${body}`).slice(0, CHECK_CHARACTERS);
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
