import { CRAFTED, DEVICE, LINUX, type Stack, WINDOWS } from '../address.ts';
import type { Lens } from '../conversation.ts';
import { type Host, hostAt } from '../host.ts';
import type { Lab } from '../lab.ts';
import { makeSite, type Site } from '../site.ts';

/** The kinds of attack the lab can stage: the product's one vocabulary. */
export const ATTACK_KINDS = [
  'port-scan',
  'host-sweep',
  'slow-scan',
  'syn-flood',
  'slow-http',
  'password-guessing',
  'dns-tunnel',
  'beaconing',
  'exfiltration',
] as const;

export type AttackKind = (typeof ATTACK_KINDS)[number];

/** Where an attack plays: who attacks, and the network of the attacked or of the attacker. */
export interface Stage {
  readonly attacker: Host;
  readonly site: Site;
}

/**
 * The attacker is a stranger, a machine of a busy site that has been taken over, or one on a network of its own
 * that the capture has never seen before, and may see through a lens.
 */
export function setStage(lab: Lab, sites: readonly Site[], lens: Lens | undefined): Stage {
  const { random } = lab;
  const fresh = sites.length === 0 || random.chance(0.5);
  const site = fresh
    ? makeSite(lab, { hosts: random.integer(1, 40), ...(lens === undefined ? {} : { lens }) })
    : random.pick(sites);
  if (random.chance(0.55)) return { attacker: random.pick(site.hosts), site };
  return { attacker: lab.internetHost(false), site };
}

/** The same machine sending packets made by a tool. */
export function crafted(host: Host, random: Lab['random']): Host {
  const stack: Stack = random.chance(0.7) ? CRAFTED : random.pick([LINUX, WINDOWS, DEVICE]);
  return {
    ...host,
    v4: { ...host.v4, stack },
    v6: host.v6 === undefined ? undefined : { ...host.v6, stack },
  };
}

/** Someone to attack: a host of the site, or a server on the Internet when the attacker sits inside. */
export function victim(lab: Lab, { attacker, site }: Stage): Host {
  const { random } = lab;
  const inside = site.hosts.filter((host) => host !== attacker);
  const attackerInside = inside.length < site.hosts.length;
  if (attackerInside && (inside.length === 0 || random.chance(0.45)))
    return site.internetHost(random.chance(0.5));
  return random.pick(inside);
}

/** A forged source address, from the carriers' shared space (RFC 6598). */
export function forgedHost(lab: Lab): Host {
  return hostAt(0x64400000 + lab.random.integer(0, 0x3fffff), undefined, CRAFTED);
}
