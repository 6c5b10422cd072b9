import type { AuditLog } from '../audit/index.ts';
import type { Digest } from '../base/index.ts';
import { type KeyPurpose, type KeyStore, sha256Hex } from '../crypto/index.ts';
import {
  checkRoster,
  rosterBytes,
  rosterDigest,
  type SignedRoster,
  TrainingError,
  type TrustedApprover,
  toBeSigned,
  verifyRoster,
} from '../training/index.ts';

/** As what a site takes part in secure trainings. */
export type SecureRole = 'member' | 'approver';

/** The public part of such a key. */
export interface SecureIdentity extends TrustedApprover {
  readonly keyId: string;
}

/** As whom this site joined a roster. */
export interface Membership {
  readonly roster: Digest;
  readonly member: string;
}

const PURPOSES: Readonly<Record<SecureRole, KeyPurpose>> = {
  member: 'member-signing',
  approver: 'roster-signing',
};

/**
 * The keys by which a site speaks in secure trainings, used for that alone: a roster is signed where its rules hold and none of its
 * members is this site, and what a member says is signed under a roster that was verified and written into the log.
 */
export class SecureIdentities {
  readonly #keys: KeyStore;
  readonly #log: AuditLog;
  /** Rosters joined since this process began, with the key of the member. */
  readonly #joined = new Map<Digest, { readonly member: string; readonly keyId: string }>();

  constructor({ keys, log }: { readonly keys: KeyStore; readonly log: AuditLog }) {
    this.#keys = keys;
    this.#log = log;
  }

  /** Makes the key where there is none. */
  async identity(role: SecureRole, principal: string): Promise<SecureIdentity> {
    const purpose = PURPOSES[role];
    await this.#log.append({
      ...{ kind: 'event', action: 'roster.identity', principal, subject: role },
      detail: { purpose },
    });
    const known = (await this.#keys.list()).find((key) => key.purpose === purpose && key.state === 'active');
    const { id: keyId, algorithm, publicKeyPem = '' } = known ?? (await this.#keys.generate(purpose));
    return { keyId, algorithm, publicKeyPem };
  }

  /** Signs a roster as its approver. Throws `training.roster-refused` where a rule does not hold or a member is this site. */
  async signRoster(candidate: unknown, principal: string): Promise<SignedRoster> {
    const approver = await this.identity('approver', principal);
    const roster = checkRoster(candidate, approver);
    const own = new Set((await this.#keys.list()).map(({ publicKeyPem }) => publicKeyPem));
    const self = roster.members.find(({ publicKeyPem }) => own.has(publicKeyPem));
    if (self !== undefined) {
      throw new TrainingError('training.roster-refused', `the approver would be the member ${self.id} too`);
    }
    const { run, members, threshold, minGroup } = roster;
    await this.#log.append({
      ...{ kind: 'event', action: 'roster.sign', principal, subject: run },
      detail: { roster: rosterDigest(roster), members: members.map(({ id }) => id), threshold, minGroup },
    });
    const signature = await this.#keys.sign(approver.keyId, rosterBytes(roster));
    return { roster, signature: Buffer.from(signature).toString('base64') };
  }

  /** This site takes part from now on; in the log before it says a word. Throws `training.roster-refused`. */
  async join(signed: SignedRoster, approver: TrustedApprover, principal: string): Promise<Membership> {
    const roster = verifyRoster(signed, approver);
    const keys = await this.#keys.list();
    if (keys.some(({ publicKeyPem }) => publicKeyPem === approver.publicKeyPem)) {
      throw new TrainingError('training.roster-refused', 'this site is the approver, and no member then');
    }
    const active = keys.find((key) => key.purpose === 'member-signing' && key.state === 'active');
    const self = roster.members.find(
      ({ algorithm, publicKeyPem }) =>
        publicKeyPem === active?.publicKeyPem && algorithm === active.algorithm,
    );
    if (self === undefined || active === undefined) {
      throw new TrainingError(
        'training.roster-refused',
        `no member of the roster of ${roster.run} has the identity of this site`,
      );
    }
    const digest = rosterDigest(roster);
    await this.#log.append({
      ...{ kind: 'event', action: 'roster.join', principal, subject: roster.run },
      detail: {
        ...{ roster: digest, member: self.id, key: active.id },
        approver: { name: roster.approver, key: sha256Hex(approver.publicKeyPem) },
      },
    });
    this.#joined.set(digest, { member: self.id, keyId: active.id });
    return { roster: digest, member: self.id };
  }

  /** Signs what the member says. Throws `training.message-refused` for anything else. */
  async sign(message: Uint8Array): Promise<Uint8Array> {
    const says = toBeSigned(message);
    const joined = says && this.#joined.get(says.roster);
    if (joined === undefined || says?.from !== joined.member) {
      throw new TrainingError(
        'training.message-refused',
        'expected a message of a member under a roster that this site has joined',
      );
    }
    return await this.#keys.sign(joined.keyId, message);
  }
}
