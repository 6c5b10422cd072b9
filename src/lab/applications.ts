import type { Milliseconds } from '../base/index.ts';
import { backup, cloudSync, download, fileTransfer, video } from './benign/bulk.ts';
import { announce, findDevices, joinNetwork, portless } from './benign/discovery.ts';
import { database, domainLogin, fileShare, printJob } from './benign/files.ts';
import { readMail, sendMail } from './benign/mail.ts';
import { call, conference, datagramStream } from './benign/media.ts';
import { deadResolver, encryptedNames, lookUpBurst, machineNames, recursion } from './benign/names.ts';
import { shortQuestions, strayPacket, unknownApplication } from './benign/odd.ts';
import { peerProgram } from './benign/peers.ts';
import {
  appPolling,
  monitoring,
  oneWayRecords,
  ping,
  retries,
  timeSync,
  traceRoute,
} from './benign/polling.ts';
import { forgottenPassword, remoteDesktop, sshAutomation, sshShell } from './benign/remote.ts';
import { browsePage, flashCrowd, heldConnection, slowUpload } from './benign/web.ts';
import type { Host } from './host.ts';
import type { Lab } from './lab.ts';
import type { Site } from './site.ts';

/** Something a host does: plans what follows from `timeMs` on. */
export type Activity = (lab: Lab, site: Site, host: Host, timeMs: Milliseconds) => void;

export interface Application {
  readonly run: Activity;
  /** How often it is chosen in an office, and as the only application of a small network. */
  readonly office: number;
  readonly alone: number;
}

const of = (run: Activity, office: number, alone: number): Application => ({ run, office, alone });

/** Everything ordinary that the lab knows. */
export const APPLICATIONS: readonly Application[] = [
  of(browsePage, 30, 8),
  of(heldConnection, 5, 5),
  of(slowUpload, 2.5, 2),
  of((lab, site, _host, at) => flashCrowd(lab, site, at, lab.random.integer(20, 400)), 0.25, 0.8),
  of(lookUpBurst, 6, 8),
  of(machineNames, 2, 6),
  of(deadResolver, 0.6, 2),
  of((lab, site, _host, at) => recursion(lab, site, at), 1.5, 2),
  of(encryptedNames, 3, 3),
  of(sshShell, 3, 4),
  of(forgottenPassword, 1, 1.5),
  of(sshAutomation, 0.8, 2.5),
  of(remoteDesktop, 2, 4),
  of(sendMail, 3, 4),
  of(readMail, 4, 4),
  of(backup, 1.5, 3),
  of(cloudSync, 3, 3),
  of(download, 3, 4),
  of(video, 2, 3),
  of(fileTransfer, 1, 4),
  of(call, 1, 4),
  of(conference, 2, 6),
  of(datagramStream, 3, 8),
  of(timeSync, 0.6, 3),
  of(monitoring, 0.6, 14),
  of(appPolling, 0.8, 8),
  of(retries, 1.2, 6),
  of(ping, 2, 4),
  of(oneWayRecords, 1.5, 4),
  of((lab, site, _host, at) => traceRoute(lab, site, at), 0.5, 2),
  of(announce, 8, 14),
  of(joinNetwork, 1.5, 5),
  of(findDevices, 1, 2),
  of(portless, 1.5, 8),
  of(peerProgram, 1, 5),
  of(fileShare, 4, 5),
  of(database, 3, 5),
  of(printJob, 1, 2),
  of(domainLogin, 2, 3),
  of(unknownApplication, 8, 34),
  of(shortQuestions, 2, 16),
  of(strayPacket, 2, 10),
];

/** Draws an application by its weight. */
export function drawApplication(lab: Lab, weight: 'office' | 'alone'): Activity {
  const total = APPLICATIONS.reduce((sum, application) => sum + application[weight], 0);
  let left = lab.random.next() * total;
  for (const application of APPLICATIONS) {
    left -= application[weight];
    if (left < 0) return application.run;
  }
  return browsePage;
}
