import type { SecretBuffer } from '../crypto/index.ts';
import { parseSignedRoster } from '../training/index.ts';
import { ServerError } from './errors.ts';
import type { Handlers } from './handler.ts';

export const trainingHandlers = {
  'POST /v1/training/keys': async ({ guardian, body, caller }) => {
    const subject = body.subject.toWellFormed();
    const { wraps, key } = await guardian.trainingKeys.make(body.purpose, subject, caller.principal);
    return { wraps, key: textOf(key) };
  },
  'POST /v1/training/keys/open': async ({ guardian, body, caller }) => {
    const { purpose, wraps } = body;
    const by = { subject: body.subject.toWellFormed(), principal: caller.principal };
    return { key: textOf(await guardian.trainingKeys.open(purpose, wraps, by)) };
  },
  'GET /v1/training/checkpoints': async ({ guardian }) => ({
    checkpoints: await guardian.trainingKeys.marks(),
  }),
  'POST /v1/training/checkpoints/:name': async ({ guardian, path, body }) => {
    await guardian.trainingKeys.mark(path.name, body);
    return {};
  },
  'DELETE /v1/training/checkpoints/:name': async ({ guardian, path, query }) => {
    await guardian.trainingKeys.forget(path.name, query.key);
    return {};
  },
  'GET /v1/training/runs': ({ guardian }) => ({ runs: guardian.trainings.list() }),
  'GET /v1/training/runs/:run': ({ guardian, path }) => {
    const run = guardian.trainings.find(path.run);
    if (run === undefined) {
      throw new ServerError('server.training-unknown', `no training ${path.run} was told of here lately`);
    }
    return run;
  },
  'POST /v1/training/runs/:run': ({ guardian, path, body }) => {
    guardian.trainings.tell(path.run, body);
    return {};
  },
  'POST /v1/training/identities': async ({ guardian, body, caller }) =>
    await guardian.identities.identity(body.role, caller.principal),
  'POST /v1/training/rosters': async ({ guardian, body, caller }) =>
    await guardian.identities.signRoster(body.roster, caller.principal),
  'POST /v1/training/memberships': async ({ guardian, body, caller }) => {
    const signed = parseSignedRoster(body.signed);
    return await guardian.identities.join(signed, body.approver, caller.principal);
  },
  'POST /v1/training/memberships/sign': async ({ guardian, body }) => {
    const signature = await guardian.identities.sign(Buffer.from(body.message, 'base64'));
    return { signature: Buffer.from(signature).toString('base64') };
  },
} satisfies Partial<Handlers>;

/** The text cannot be wiped; the key goes to a process of the same user, or over TLS to an admin. */
function textOf(key: SecretBuffer): string {
  try {
    return key.use((bytes) => Buffer.from(bytes).toString('base64'));
  } finally {
    key.wipe();
  }
}
