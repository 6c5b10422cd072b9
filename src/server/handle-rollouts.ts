import type { Handlers } from './handler.ts';

export const rolloutHandlers = {
  'GET /v1/models/:name/rollout': ({ guardian, path }) => guardian.rollouts.report(path.name),
  'POST /v1/models/:name/shadow': ({ guardian, path, body, caller }) =>
    guardian.rollouts.shadow(path.name, body.version, caller),
  'POST /v1/models/:name/canary': ({ guardian, path, body, caller }) =>
    guardian.rollouts.canary(path.name, body.version, body.percent, caller),
  'POST /v1/models/:name/rollout/stop': ({ guardian, path, caller }) =>
    guardian.rollouts.stop(path.name, caller),
} satisfies Partial<Handlers>;
