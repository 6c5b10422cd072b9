/** What leads to an entry of an action: a method or a route that changes something, or a thing that happens. */
export interface AuditableAction {
  readonly about: string;
  /** `Registry.publish`, `KeyStore.sign`, `POST /v1/access`: a test finds each of these in the code, and no other. `live`: traffic. */
  readonly from: readonly string[];
}

/**
 * Everything that is to stand in the log, by action. A test reads the code: an action that is appended and does not
 * stand here, one that stands here and is appended nowhere, and a method or route that changes something and leads to
 * none of them each fail it.
 */
export const AUDITABLE_ACTIONS = {
  'model.publish': {
    about: 'A trained version is signed, encrypted and stored.',
    from: ['Registry.publish', 'POST /v1/models/:name/versions'],
  },
  'model.import': {
    about: 'A version of another site is taken in.',
    from: ['Registry.importFiles', 'POST /v1/models/import'],
  },
  'model.approve': {
    about: 'Somebody stands for a version.',
    from: ['Registry.approve', 'POST /v1/models/:name/approve'],
  },
  'model.gate-data': {
    about: 'Data for the gates is named by its digest.',
    from: ['Registry.registerGateData', 'POST /v1/models/:name/gate-data'],
  },
  'model.certify': {
    about: 'A version is certified on those data.',
    from: ['Registry.certify', 'POST /v1/models/:name/certify'],
  },
  'model.promote': {
    about: 'An alias is pointed at a version.',
    from: ['Registry.promote', 'POST /v1/models/:name/promote'],
  },
  'model.rollback': {
    about: 'An alias is taken back.',
    from: ['Registry.rollback', 'POST /v1/models/:name/rollback'],
  },
  'model.load': {
    about: 'A version is put in place: the champion by an operator, another by an approver.',
    from: ['POST /v2/repository/models/:name/load'],
  },
  'model.unload': {
    about: 'A model is taken out of service.',
    from: ['POST /v2/repository/models/:name/unload'],
  },
  'model.shadow': {
    about: 'A version is shown what the champion answers, and decides nothing.',
    from: ['POST /v1/models/:name/shadow'],
  },
  'model.canary': {
    about: 'A version decides for a share of the sources.',
    from: ['Registry.admit', 'POST /v1/models/:name/canary'],
  },
  'model.rollout-stop': {
    about: 'Somebody ends a shadow or a canary.',
    from: ['POST /v1/models/:name/rollout/stop'],
  },
  'model.rollout-end': {
    about: 'A shadow or canary ends by itself: it failed, or its champion is gone.',
    from: ['live'],
  },
  'model.withdraw': {
    about: 'A model that fails or answers nonsense is no longer asked.',
    from: ['live'],
  },
  'model.restore': { about: 'A probe found such a model sound again.', from: ['live'] },
  'model.export': { about: 'Weights leave the house in the clear.', from: ['Registry.exportTo'] },
  'model.pull': { about: 'Versions are fetched from another site.', from: ['POST /v1/updates/pull'] },
  'model.pulled': { about: 'What such a pull took in.', from: ['POST /v1/updates/pull'] },
  'repo.publish': { about: 'A repository for other sites is written.', from: ['POST /v1/updates/publish'] },
  'repo.published': { about: 'What that repository holds.', from: ['POST /v1/updates/publish'] },
  'model.tag': {
    about: 'Tags of a version change.',
    from: ['Custody.tag', 'POST /v1/models/:name/versions/:version/tags'],
  },
  'model.hold': {
    about: 'A version is held.',
    from: ['Custody.hold', 'POST /v1/models/:name/versions/:version/holds'],
  },
  'model.release': {
    about: 'A hold ends.',
    from: ['Custody.release', 'POST /v1/models/:name/versions/:version/holds/release'],
  },
  'model.prune': {
    about: 'Weights go by retention.',
    from: ['Custody.prune', 'Custody.tidy', 'POST /v1/models/:name/prune'],
  },
  'model.erase': {
    about: 'The wraps of a data key are destroyed.',
    from: ['Custody.erase', 'POST /v1/models/:name/versions/:version/erase'],
  },
  'model.erase-complete': { about: 'The last escrowed wrap of it expired.', from: ['Custody.eraseStatus'] },
  'model.erase-refused': { about: 'An erase that may not be.', from: ['Custody.erase'] },
  'model.erase-replay': {
    about: 'A restored wrap of an erased version is destroyed again.',
    from: ['start'],
  },
  'registry.escrow': { about: 'Wraps are copied to escrow.', from: ['Custody.escrow', 'POST /v1/escrow'] },
  'registry.escrow-restore': {
    about: 'Wraps come back from escrow.',
    from: ['Custody.restoreEscrow', 'POST /v1/escrow/restore'],
  },
  'registry.escrow-expire': { about: 'Escrowed wraps outlived their time.', from: ['Custody.sweepEscrow'] },
  'key.rotate': {
    about: 'Another key takes over, and data keys are wrapped anew.',
    from: ['Registry.rotateKey', 'POST /v1/keys/rotate'],
  },
  'key.revoke': {
    about: 'A key is revoked as of a time.',
    from: ['Registry.revokeKey', 'POST /v1/keys/:id/revoke'],
  },
  'key.generate': { about: 'A key is made.', from: ['KeyStore.generate'] },
  'key.retire': { about: 'A key is no longer used for new things.', from: ['KeyStore.retire'] },
  'key.disable': { about: 'The store refuses every use of a key.', from: ['KeyStore.revoke'] },
  'key.sign': {
    about: 'A key signs; keys of the log and of members are counted instead.',
    from: ['KeyStore.sign'],
  },
  'key.wrap': { about: 'A data key is wrapped.', from: ['KeyStore.wrap'] },
  'key.unwrap': { about: 'A data key is unwrapped.', from: ['KeyStore.unwrap'] },
  'access.add': {
    about: 'A way in is given.',
    from: ['POST /v1/access', 'POST /v1/access/certificates'],
  },
  'access.revoke': { about: 'A way in is taken.', from: ['DELETE /v1/access/:id'] },
  'data.seal': {
    about: 'A key is made that seals training data or a checkpoint.',
    from: ['POST /v1/training/keys'],
  },
  'data.open': { about: 'Such a key is handed out again.', from: ['POST /v1/training/keys/open'] },
  'roster.identity': {
    about:
      'The public part of an identity for secure training is asked for; its key is made where there is none.',
    from: ['POST /v1/training/identities'],
  },
  'roster.sign': {
    about: 'A roster of a secure training is signed.',
    from: ['POST /v1/training/rosters'],
  },
  'roster.join': {
    about: 'This site takes part in a secure training as a member of a roster.',
    from: ['POST /v1/training/memberships'],
  },
  'features.extract': {
    about: 'Features of a source are made: for a file, for training, or live.',
    from: ['POST /v1/extractions'],
  },
  'certificate.activate': {
    about: 'Live traffic is like the data a certificate rests on: from now on it counts.',
    from: ['live'],
  },
  'certificate.suspend': {
    about: 'A certificate ceases to count: traffic has shifted, it has expired, or its model was replaced.',
    from: ['live'],
  },
  'detection.verdict': {
    about: 'An analyst says what a detection was.',
    from: ['POST /v1/detections/:uid/verdict'],
  },
  'suppression.add': {
    about: 'Notices of what fits a rule are silenced for a time.',
    from: ['POST /v1/suppressions'],
  },
  'suppression.remove': { about: 'Such a rule ends early.', from: ['DELETE /v1/suppressions/:id'] },
  'score.drift': { about: 'The mean of live scores changed for a kind of source.', from: ['live'] },
  'notice.lost': {
    about: 'A receiver of notices refused one for good, or was away for too long.',
    from: ['live'],
  },
  'config.change': { about: 'A start with another configuration.', from: ['start'] },
  'audit.recover': { about: 'The log was cut off by a crash.', from: ['start'] },
  'server.request': { about: 'A request is denied; equal ones of a second together.', from: ['denial'] },
} as const satisfies Readonly<Record<string, AuditableAction>>;

/**
 * What changes something and is to stand in no log, and why: traffic and what is found in it are kept by the detections,
 * and a verification changes nothing. The number of a checkpoint rises with each tree: it is the mark that the next one is
 * held to. It is not part of what coverage counts. What a member of a secure training signs rests on its `roster.join`.
 */
export const NOT_AUDITABLE = [
  'POST /v1/events',
  'POST /v1/events/queue',
  'POST /v1/events/end',
  'POST /v1/score/:name',
  'POST /v1/audit/verify',
  'POST /v1/training/checkpoints/:name',
  'DELETE /v1/training/checkpoints/:name',
  'POST /v1/training/runs/:run',
  'POST /v1/training/memberships/sign',
  'POST /v2/models/:name/infer',
  'POST /v2/models/:name/versions/:version/infer',
  'POST /v2/repository/index',
] as const;

/** Audited over auditable. The test above holds every action of the table to code that appends it. */
export function auditCoverage(): {
  readonly audited: number;
  readonly auditable: number;
  readonly share: number;
} {
  const actions: readonly AuditableAction[] = Object.values(AUDITABLE_ACTIONS);
  const audited = actions.filter(({ from }) => from.length > 0).length;
  return { audited, auditable: actions.length, share: audited / actions.length };
}
