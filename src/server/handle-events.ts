import type { z } from 'zod';
import { QueueError } from '../guardian/index.ts';
import { parseReference } from '../registry/index.ts';
import { ServerError } from './errors.ts';
import { checkRows, readEvents } from './event-bodies.ts';
import { type Handlers, parsePart, type ServedGuardian } from './handler.ts';
import { queueHeaders } from './queue-routes.ts';
import { type Caller, mayAct } from './roles.ts';

export const eventHandlers = {
  'POST /v1/events': async ({ guardian, query, body, caller }) => {
    const { flows, unread } = await readEvents(body);
    const model = await servedModel(guardian, query.model ?? guardian.config.model.modelPath, caller);
    // Refused before they are taken in: flows that a client sends again would count twice.
    if (guardian.detections.stats.unsaved > 0) await guardian.detections.flush();
    const { outcomes: _, ...result } = await guardian.ingestFlows(flows, { route: query.route, model });
    return { ...result, ...(unread !== undefined && { unread }) };
  },
  'POST /v1/events/queue': async ({ guardian, query, body, caller, request }) => {
    const headers = parsePart(queueHeaders, 'header', request.headers) as z.output<typeof queueHeaders>;
    const { flows, unread } = await readEvents(body);
    const model = await servedModel(guardian, query.model ?? guardian.config.model.modelPath, caller);
    const event = await guardian.queueFlows(flows, {
      ...{ stream: query.route, model, principal: caller.principal },
      idempotencyKey: headers['idempotency-key'],
    });
    return { ...event, ...(unread !== undefined && { unread }) };
  },
  'GET /v1/events/:id': async ({ guardian, path }) => {
    const event = await guardian.queue.find(path.id);
    if (event === undefined) throw new QueueError('guardian.event-unknown', 'no queued event has this id');
    return event;
  },
  'POST /v1/events/end': async ({ guardian, query }) => ({
    detections: await guardian.endRoute(query.route),
  }),
  'POST /v1/extractions': async ({ guardian, body, caller }) => {
    const { source, ...detail } = body;
    const subject = source.toWellFormed();
    const index = await guardian.log.append({
      kind: 'event',
      action: 'features.extract',
      principal: caller.principal,
      subject,
      detail,
    });
    return { index };
  },
  'POST /v1/score/:name': async ({ guardian, path, body }) => {
    checkRows(body.events.length);
    if (guardian.engine.current(path.name) === undefined) throw unknownModel(path.name);
    return { scores: await guardian.scoreEvents(path.name, body.events) };
  },
} satisfies Partial<Handlers>;

export function unknownModel(name: string, version?: string): ServerError {
  const label = version === undefined ? name : `${name} ${JSON.stringify(version)}`;
  return new ServerError('server.model-unknown', `no model ${label} is loaded here`);
}

/**
 * Name of the loaded model that a reference means. The first flows load the champion, or what the configuration names,
 * where nobody loaded it yet; another version only an operator's flows, or who submits would choose what serves. What is kept
 * in step with the alias asked for needs no look at it: so it goes on while a move is under way, and while the database is away.
 */
async function servedModel(guardian: ServedGuardian, reference: string, caller: Caller): Promise<string> {
  const asked = parseReference(reference);
  if ('alias' in asked && guardian.aliasOf(asked.name) === asked.alias) return asked.name;
  const { name, version } = await guardian.registry.resolve(reference);
  const loaded = guardian.engine.current(name);
  if (loaded === undefined) {
    // Who took it out is an operator: flows do not bring it back.
    if (guardian.isUnloaded(name)) throw unknownModel(name);
    if (!mayAct(caller, 'operator') && !(await isToServe(guardian, reference, version))) {
      const { principal } = caller;
      const reason = 'server.role-missing';
      guardian.denied({ principal, reason, action: 'server.request', subject: 'POST /v1/events' });
      throw new ServerError(
        reason,
        `expected a caller with the role operator: ${name}@${version} does not serve`,
      );
    }
    await guardian.load(reference);
  } else if (loaded.version !== version) {
    throw new ServerError('server.model-unknown', `${name} ${loaded.version} is loaded here, not ${version}`);
  }
  return name;
}

/** Whether it is the champion, or the very reference of the configuration. */
async function isToServe(guardian: ServedGuardian, reference: string, version: string): Promise<boolean> {
  if (reference === guardian.config.model.modelPath) return true;
  const champion = await guardian.registry.resolve(reference.split('@')[0] as string).catch(() => undefined);
  return champion?.version === version;
}
