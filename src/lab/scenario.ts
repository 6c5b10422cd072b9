import type { Milliseconds } from '../base/index.ts';
import { drawApplication } from './applications.ts';
import { beaconing, dnsTunnel, exfiltration } from './attacks/covert.ts';
import { synFlood } from './attacks/flood.ts';
import { guessPasswords } from './attacks/guessing.ts';
import { portScan, slowScan } from './attacks/scan.ts';
import { slowHttp } from './attacks/slow-http.ts';
import { type AttackKind, type Stage, setStage } from './attacks/stage.ts';
import { hostSweep } from './attacks/sweep.ts';
import type { Lens } from './conversation.ts';
import type { Lab } from './lab.ts';
import { makeSite, type Site } from './site.ts';

interface Staging {
  readonly run: (lab: Lab, stage: Stage, startMs: Milliseconds, size: number) => void;
  /** Size of an episode: a Pareto draw, in probes, connections, questions or pieces. */
  readonly least: number;
  readonly shape: number;
  readonly most: number;
  /** Latest start, as a share of the length: the patient need time. */
  readonly latest: number;
  /** Episodes for each minute of the capture. */
  readonly perMinute: number;
}

const STAGINGS: Readonly<Record<AttackKind, Staging>> = {
  'port-scan': { run: portScan, least: 20, shape: 1, most: 2000, latest: 0.9, perMinute: 5 },
  'host-sweep': { run: hostSweep, least: 12, shape: 1, most: 1000, latest: 0.9, perMinute: 7 },
  'slow-scan': { run: slowScan, least: 20, shape: 1.1, most: 150, latest: 0.6, perMinute: 7 },
  'syn-flood': { run: synFlood, least: 120, shape: 1.1, most: 3000, latest: 0.9, perMinute: 2 },
  'slow-http': { run: slowHttp, least: 20, shape: 1.2, most: 200, latest: 0.7, perMinute: 3 },
  'password-guessing': { run: guessPasswords, least: 16, shape: 1.1, most: 400, latest: 0.8, perMinute: 9 },
  'dns-tunnel': { run: dnsTunnel, least: 50, shape: 1, most: 1500, latest: 0.8, perMinute: 5 },
  beaconing: { run: beaconing, least: 15, shape: 0.8, most: 200, latest: 0.4, perMinute: 8 },
  exfiltration: { run: exfiltration, least: 4, shape: 1, most: 40, latest: 0.8, perMinute: 8 },
};

/** Ordinary life: offices that live through the whole capture, and small networks that are seen for a while. */
export function stageOrdinary(lab: Lab, scale: number): readonly Site[] {
  const { random, endMs } = lab;
  const minutes = endMs / 60_000;
  const offices = Math.max(1, Math.round(12 * Math.min(1, scale)));
  const sites: Site[] = [];
  for (let i = 0; i < offices; i++) {
    const site = makeSite(lab, { hosts: random.integer(2, 14) });
    sites.push(site);
    const pace = random.logNormal(10.2, 0.5) / Math.max(1, scale);
    for (const host of site.hosts) {
      lab.every(random.uniform(-5000, pace), endMs, (now) => {
        drawApplication(lab, 'office')(lab, site, host, now);
        return random.exponential(pace);
      });
    }
  }
  const small = Math.max(3, Math.round(120 * minutes * scale));
  for (let i = 0; i < small; i++) lab.at(random.uniform(0, endMs * 0.98), (now) => stageAlone(lab, now));
  return sites;
}

/** A capture of one application on a network never seen before; it may begin late, end early, or miss a side. */
function stageAlone(lab: Lab, timeMs: Milliseconds): void {
  const { random } = lab;
  const lens = drawLens(lab, timeMs, 1);
  const site = makeSite(lab, {
    hosts: random.chance(0.5) ? random.integer(1, 3) : random.integer(2, 15),
    ...(lens === undefined ? {} : { lens }),
  });
  const activity = drawApplication(lab, 'alone');
  const actors = random.chance(0.75) ? 1 : random.integer(1, Math.min(6, site.hosts.length));
  for (let i = 0; i < actors; i++) {
    const host = site.hosts[i % site.hosts.length];
    if (host === undefined) continue;
    for (
      let k = Math.min(6, Math.floor(random.pareto(1, 1.2))), at = timeMs;
      k > 0;
      k--, at += random.exponential(8000)
    ) {
      lab.at(at, (now) => activity(lab, site, host, now));
    }
  }
}

/** A capture that begins late, ends early or sees one direction; `stretch` makes its times longer. */
function drawLens(lab: Lab, timeMs: Milliseconds, stretch: number): Lens | undefined {
  const { random } = lab;
  const kind = random.next();
  if (kind < 0.45) return undefined;
  const startUs = timeMs * 1000;
  const late = kind < 0.7 ? random.exponential(random.pick([50_000, 1_000_000, 10_000_000])) : 0;
  const long =
    kind > 0.6
      ? stretch * random.exponential(random.pick([500_000, 5_000_000, 60_000_000]))
      : Number.POSITIVE_INFINITY;
  const directions = kind > 0.92 ? (random.chance(0.5) ? 1 : 2) : 3;
  return { fromUs: startUs + late, toUs: startUs + late + long, directions };
}

/** Attacks of the given kinds, each with episodes from blatant to subtle. */
export function stageAttacks(
  lab: Lab,
  sites: readonly Site[],
  kinds: readonly AttackKind[],
  scale: number,
): void {
  const { random, endMs } = lab;
  const minutes = endMs / 60_000;
  for (const kind of kinds) {
    const staging = STAGINGS[kind];
    const episodes = Math.max(1, Math.round(staging.perMinute * minutes * scale));
    for (let i = 0; i < episodes; i++) {
      const size = Math.min(staging.most, Math.floor(random.pareto(staging.least, staging.shape)));
      const start = random.uniform(0, endMs * staging.latest);
      lab.at(start, (now) => {
        // A recipe of attacks alone shows them whole.
        const lens = sites.length > 0 && random.chance(0.5) ? drawLens(lab, now, 10) : undefined;
        staging.run(lab, setStage(lab, sites, lens), now, size);
      });
    }
  }
}
