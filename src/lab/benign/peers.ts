import type { Milliseconds } from '../../base/index.ts';
import { Icmp, udp } from '../datagrams.ts';
import { type Host, takePort } from '../host.ts';
import type { Lab } from '../lab.ts';
import { BITTORRENT } from '../payload.ts';
import { rttTo, type Site } from '../site.ts';
import { TcpSession } from '../tcp-session.ts';

/** A program of many peers: file sharing, calls, coins, games. Many addresses, most gone, each on its own port. */
export function peerProgram(lab: Lab, site: Site, host: Host, timeMs: Milliseconds): void {
  const { random } = lab;
  const peers = Math.min(250, Math.floor(random.pareto(8, 0.8)));
  const byUdp = random.uniform(0.1, 1);
  const ownPort = random.integer(6881, 60000);
  const oneOwnPort = random.chance(0.75);
  // Some programs use one port everywhere (a coin's network), most let every peer choose.
  const common = random.chance(0.3) ? random.pick([8333, 30303, 6881, 4662, 18080, 6346, 33033]) : 0;
  const silent = random.uniform(0.1, 0.85);
  const refused = random.uniform(0, 0.2);
  const gap = random.logNormal(4.5, 1.5);
  let now = timeMs;
  for (let i = 0; i < peers && now < lab.endMs; i++) {
    const peer = site.internetHost(false);
    const port = common > 0 && random.chance(0.8) ? common : random.integer(1024, 65535);
    const at = now;
    const fate = random.next();
    lab.at(at, () => {
      if (random.chance(byUdp))
        datagramPeer(lab, site, host, peer, port, at, oneOwnPort ? ownPort : takePort(host), fate > silent);
      else
        connectPeer(
          lab,
          site,
          host,
          peer,
          port,
          at,
          fate < silent ? 'silent' : fate < silent + refused ? 'refused' : 'open',
        );
    });
    if (random.chance(0.15)) {
      // And peers come in turn.
      lab.at(at + 500, () =>
        connectPeer(lab, site, peer, host, ownPort, at + 500, random.chance(0.7) ? 'open' : 'silent'),
      );
    }
    now += random.exponential(gap);
  }
}

function datagramPeer(
  lab: Lab,
  site: Site,
  host: Host,
  peer: Host,
  port: number,
  timeMs: Milliseconds,
  clientPort: number,
  answers: boolean,
): void {
  const { random } = lab;
  const flow = udp(lab, { client: host, server: peer, port, clientPort });
  const rtt = rttTo(lab, site, false);
  if (!answers) {
    for (let k = random.integer(1, 4), at = timeMs; k > 0; k--, at += random.uniform(500, 4000))
      flow.send(at, random.integer(18, 130));
    if (random.chance(0.1)) new Icmp(lab, { client: peer, server: host }).unreachable(timeMs + rtt, 3);
    return;
  }
  const turns = random.chance(0.7) ? random.integer(1, 4) : Math.min(150, Math.floor(random.pareto(5, 0.7)));
  const big = random.chance(0.3);
  for (let k = 0, at = timeMs; k < turns; k++, at += rtt + random.exponential(300)) {
    flow.send(at, random.integer(20, big ? 1400 : 200)).reply(at + rtt, random.integer(20, big ? 1400 : 400));
  }
}

function connectPeer(
  lab: Lab,
  site: Site,
  from: Host,
  to: Host,
  port: number,
  timeMs: Milliseconds,
  fate: 'silent' | 'refused' | 'open',
): void {
  const { random } = lab;
  const session = new TcpSession(lab, {
    client: from,
    server: to,
    port,
    startMs: timeMs,
    rttMs: rttTo(lab, site, false),
    loss: site.loss,
    rate: site.rate * 0.2,
  });
  if (fate === 'silent') session.unanswered(random.integer(0, 3));
  else if (fate === 'refused') session.refuse(random.integer(0, 2));
  else {
    session.open().send(68, BITTORRENT);
    if (random.chance(0.3)) {
      session.reset('server');
      return;
    }
    session.reply(random.integer(68, 300), BITTORRENT);
    for (let k = random.integer(0, 12); k > 0; k--) {
      session
        .send(random.integer(17, random.chance(0.3) ? 16_400 : 100))
        .reply(random.chance(0.4) ? 16_393 : random.integer(5, 80))
        .wait(random.exponential(1500));
    }
    if (random.chance(0.7)) session.finish(random.chance(0.5) ? 'client' : 'server');
    else session.reset('server');
  }
}
