import { Readable } from 'node:stream';
import type { Triage } from '../alerts/index.ts';
import type { Handlers } from './handler.ts';

const HOUR_MS = 3_600_000;

export const triageHandlers = {
  'POST /v1/detections/:uid/verdict': ({ guardian, path, body, caller }) =>
    guardian.triage.judge(path.uid, body, caller),
  'GET /v1/verdicts': ({ guardian, reply }) =>
    reply.type('application/x-ndjson').send(Readable.from(labelledLines(guardian.triage))),
  'GET /v1/accuracy': async ({ guardian }) => ({ models: await guardian.triage.accuracy() }),
  'GET /v1/suppressions': async ({ guardian }) => {
    const now = guardian.clock.now();
    const rules = await guardian.triage.rules();
    return { rules: rules.map((rule) => ({ ...rule, active: rule.untilMs > now })) };
  },
  'POST /v1/suppressions': ({ guardian, body, caller }) => {
    const { hours, ...rule } = body;
    const untilMs = Math.trunc(guardian.clock.now() + hours * HOUR_MS);
    return guardian.triage.addRule({ ...rule, untilMs }, caller);
  },
  'DELETE /v1/suppressions/:id': ({ guardian, path, caller }) => guardian.triage.removeRule(path.id, caller),
} satisfies Partial<Handlers>;

async function* labelledLines(triage: Triage): AsyncGenerator<string, void> {
  for await (const each of triage.labelled()) yield `${JSON.stringify(each)}\n`;
}
