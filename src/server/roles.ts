import { ROLES } from '../configuration.ts';
import type { Actor } from '../registry/index.ts';

export { ROLES };

export type Role = (typeof ROLES)[number];

/** Who sent a request, as it stands in the audit log. */
export interface Caller extends Actor {
  readonly roles: readonly Role[];
}

export function isRole(text: string): text is Role {
  return ROLES.some((role) => role === text);
}

/** Roles do not contain each other, except that reading comes with each of them. */
export function mayAct(caller: Caller, role: Role): boolean {
  return caller.roles.includes(role) || (role === 'viewer' && caller.roles.length > 0);
}

/** The owner of the socket or of this very process. */
export function localCaller(): Caller {
  return { principal: `local:${process.getuid?.() ?? 'user'}`, method: 'local', roles: ROLES };
}
