import type { Milliseconds } from '../../base/index.ts';
import { udp } from '../datagrams.ts';
import type { Host } from '../host.ts';
import type { Lab } from '../lab.ts';
import { RTP_PACKET, SIP_REGISTER, STUN_REQUEST } from '../payload.ts';
import { otherHost, rttTo, type Site } from '../site.ts';

/** SIP signalling, then RTP both ways at a packet every 20 ms or so, and RTCP; sometimes one way only. */
export function call(lab: Lab, site: Site, host: Host, timeMs: Milliseconds): void {
  const { random } = lab;
  const local = random.chance(0.3);
  const peer = local ? otherHost(lab, site, host) : site.internetHost();
  const rtt = rttTo(lab, site, local);
  let now = timeMs;
  if (random.chance(0.6)) {
    const sip = udp(lab, { client: host, server: peer, port: 5060, clientPort: 5060 });
    for (let i = random.integer(1, 5); i > 0; i--) {
      sip.send(now, random.integer(350, 1100), SIP_REGISTER);
      if (random.chance(0.9)) sip.reply(now + rtt, random.integer(280, 900));
      now += random.exponential(800) + rtt;
    }
  }
  const port = random.integer(4000, 32000) * 2;
  const media = udp(lab, { client: host, server: peer, port, clientPort: port });
  const control = udp(lab, { client: host, server: peer, port: port + 1, clientPort: port + 1 });
  const interval = random.pick([20, 20, 30, 10]);
  const voice = random.pick([160, 172, 92, 50, 1100]);
  const until = Math.min(now + random.logNormal(9, 1), now + 45_000, lab.endMs);
  const oneWay = random.chance(0.2);
  for (let i = 0; now < until; i++) {
    media.send(now, voice === 1100 ? random.integer(200, 1200) : voice + 12, RTP_PACKET);
    if (!oneWay) media.reply(now + rtt + random.exponential(2), voice + 12, RTP_PACKET);
    if (i % 250 === 100) control.send(now, random.integer(60, 120)).reply(now + rtt, random.integer(60, 120));
    now += interval * random.uniform(0.95, 1.05);
  }
}

/** Candidates of a conference: connectivity checks to many addresses, most unanswered, then one stream. */
export function conference(lab: Lab, site: Site, host: Host, timeMs: Milliseconds): void {
  const { random } = lab;
  const clientPort = random.integer(16384, 65000);
  const candidates = random.integer(2, 25);
  const rtt = rttTo(lab, site, false);
  let now = timeMs;
  let chosen = udp(lab, {
    client: host,
    server: site.internetHost(),
    port: random.pick([3478, 19302, 8801, 19305, 443]),
    clientPort,
  });
  for (let i = 0; i < candidates; i++) {
    const peer = random.chance(0.3) ? otherHost(lab, site, host) : site.internetHost();
    const check = udp(lab, {
      client: host,
      server: peer,
      port: random.chance(0.5) ? random.pick([3478, 19302, 3479, 19305]) : random.integer(1024, 65535),
      clientPort: random.chance(0.7) ? clientPort : random.integer(16384, 65000),
    });
    const answers = random.chance(0.55);
    for (let k = random.integer(1, 8); k > 0; k--) {
      check.send(now + k * 50, random.integer(20, 140), STUN_REQUEST);
      if (answers) check.reply(now + k * 50 + rtt, random.integer(32, 120), STUN_REQUEST);
    }
    if (answers && random.chance(0.3)) chosen = check;
    now += random.exponential(60);
  }
  const until = Math.min(now + random.logNormal(8.6, 1), now + 40_000, lab.endMs);
  const up = random.chance(0.8);
  const down = !up || random.chance(0.8);
  const gap = random.uniform(6, 40);
  while (now < until) {
    if (up) chosen.send(now, random.integer(60, 1180));
    if (down) chosen.reply(now + random.uniform(0, gap), random.integer(60, 1180));
    now += random.exponential(gap);
  }
}

/** A game, a tunnel or another conversation of datagrams: rates, sizes and lengths of every kind. */
export function datagramStream(lab: Lab, site: Site, host: Host, timeMs: Milliseconds): void {
  const { random } = lab;
  const local = random.chance(0.3);
  const peer = local ? otherHost(lab, site, host) : site.internetHost();
  const port = random.chance(0.5)
    ? random.pick([51820, 1194, 4500, 500, 27015, 3074, 5683, 5353, 6081, 4789, 2152, 1701, 9987, 443])
    : random.integer(1024, 65535);
  const flow = udp(lab, {
    client: host,
    server: peer,
    port,
    ...(random.chance(0.3) ? { clientPort: port } : {}),
  });
  const gap = random.logNormal(4, 1.6);
  const up = random.logNormal(4.8, 1);
  const down = random.logNormal(5.3, 1.2);
  const ratio = random.chance(0.12) ? 0 : random.uniform(0.1, 3);
  const packets = Math.min(1500, Math.floor(random.pareto(2, 0.6)));
  let now = timeMs;
  for (let i = 0; i < packets && now < lab.endMs; i++) {
    flow.send(now, Math.min(1400, Math.floor(up * random.uniform(0.6, 1.5)) + 4));
    for (let k = Math.floor(ratio + random.next()); k > 0; k--)
      flow.reply(
        now + rttTo(lab, site, local),
        Math.min(1400, Math.floor(down * random.uniform(0.4, 1.6)) + 4),
      );
    now += random.exponential(gap);
  }
}
