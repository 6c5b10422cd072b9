/** Called with the name of each fault point that is passed. */
export type FaultHandler = (name: string) => void;

let handler: FaultHandler | undefined;

/**
 * Marks a place where a crash is interesting: around every durable write. Costs one comparison in production,
 * where no handler is ever armed; the crash tests arm one in a child process and kill it there.
 */
export function faultPoint(name: string): void {
  if (handler !== undefined) handler(name);
}

/** Arms or, with `undefined`, disarms the handler. For tests alone; no configuration reaches it. */
export function armFaultPoints(next: FaultHandler | undefined): void {
  handler = next;
}
