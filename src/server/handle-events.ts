import { FlowBatch, type FlowRecord } from '../traffic/index.ts';
import { ServerError } from './errors.ts';
import { type Handlers, parsePart, type ServedGuardian } from './handler.ts';
import { SERVER_LIMITS } from './limits.ts';
import { flowSchema } from './requests.ts';
import { type Caller, mayAct } from './roles.ts';

export const eventHandlers = {
  'POST /v1/events': async ({ guardian, query, body, caller }) => {
    const flows = readFlows(body);
    const model = await servedModel(guardian, query.model ?? guardian.config.model.modelPath, caller);
    const { outcomes: _, ...result } = await guardian.ingestFlows(flows, { route: query.route, model });
    return result;
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

/** Throws `server.too-many-rows`. */
export function checkRows(rows: number): void {
  if (rows > SERVER_LIMITS.rows) {
    throw new ServerError('server.too-many-rows', `expected at most ${SERVER_LIMITS.rows} rows, got ${rows}`);
  }
}

export function unknownModel(name: string, version?: string): ServerError {
  const label = version === undefined ? name : `${name} ${JSON.stringify(version)}`;
  return new ServerError('server.model-unknown', `no model ${label} is loaded here`);
}

/**
 * Flows of one source kind, from JSON or text with one a line. Throws `server.body-malformed`,
 * `server.request-invalid`, `server.too-many-rows`.
 */
function readFlows(body: string | readonly unknown[] | { readonly flows: readonly unknown[] }): FlowBatch {
  const values = typeof body === 'string' ? readLines(body) : 'flows' in body ? body.flows : body;
  checkRows(values.length);
  const flows = values.map((value, i) => parsePart(flowSchema, `body.${i}`, value) as FlowRecord);
  const stranger = flows.find(({ sourceKind }) => sourceKind !== flows[0]?.sourceKind);
  if (stranger !== undefined) {
    throw new ServerError('server.request-invalid', 'body: expected flows of one source kind in a request');
  }
  return FlowBatch.from(flows, flows[0]?.sourceKind ?? 'packets');
}

function readLines(text: string): readonly unknown[] {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  checkRows(lines.length);
  return lines.map((line, i) => {
    try {
      return JSON.parse(line) as unknown;
    } catch {
      throw new ServerError('server.body-malformed', `line ${i + 1} of the body is not JSON`);
    }
  });
}

/**
 * Name of the loaded model that a reference means. The first flows load the champion, or what the configuration names,
 * where nobody loaded it yet; another version only an operator's flows, or who submits would choose what serves.
 */
async function servedModel(guardian: ServedGuardian, reference: string, caller: Caller): Promise<string> {
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
