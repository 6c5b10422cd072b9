import type { IncomingHttpHeaders } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { trustedProxies } from '../caller-source.ts';
import { unknownModel } from '../handle-events.ts';
import { type Handlers, parsePart, type ServedGuardian } from '../handler.ts';
import { repositoryIndexBody, repositoryLoadBody } from '../requests.ts';
import { optionalJson, splitBody } from './body-parts.ts';
import { type AskedModel, checkReady, findModel, infer, type Waiting } from './infer.ts';
import { type InferAnswer, JSON_LENGTH_HEADER, writeAnswer } from './infer-answer.ts';
import { type InferTerms, readInferRequest, readTerms } from './infer-request.ts';
import { modelMetadata, serverMetadata } from './metadata.ts';
import { loadModel, type RepositoryParameters, repositoryIndex, unloadModel } from './repository.ts';
import { type ModelStatistics, statisticsOf } from './statistics.ts';

/** Open Inference Protocol, REST; https://github.com/kserve/open-inference-protocol. */
export const inferenceHandlers = {
  'GET /v2': () => serverMetadata(),
  'GET /v2/health/live': () => ({ live: true }),
  'GET /v2/health/ready': ({ guardian }) => {
    checkReady(guardian);
    // Scoring needs none of these: what it stands on is told, and takes nobody out of service.
    const away = Object.entries(guardian.dependencies).flatMap(([name, code]) =>
      code === null ? [] : [name],
    );
    return { ready: true, ...(away.length > 0 && { degraded: away }) };
  },
  'GET /v2/models/:name': ({ guardian, path }) => modelMetadata(findModel(guardian, path.name)),
  'GET /v2/models/:name/versions/:version': ({ guardian, path }) =>
    modelMetadata(findModel(guardian, path.name, path.version)),
  'GET /v2/models/:name/ready': ({ guardian, path }) => readiness(findModel(guardian, path.name)),
  'GET /v2/models/:name/versions/:version/ready': ({ guardian, path }) =>
    readiness(findModel(guardian, path.name, path.version)),
  'POST /v2/models/:name/infer': ({ guardian, path, body, request, reply }) =>
    inferOverHttp(guardian, findModel(guardian, path.name), { body, request, reply }),
  'POST /v2/models/:name/versions/:version/infer': ({ guardian, path, body, request, reply }) =>
    inferOverHttp(guardian, findModel(guardian, path.name, path.version), { body, request, reply }),

  'GET /v2/models/stats': ({ guardian }) => ({ model_stats: readStatistics(guardian) }),
  'GET /v2/models/:name/stats': ({ guardian, path }) => ({
    model_stats: readStatistics(guardian, path.name),
  }),
  'GET /v2/models/:name/versions/:version/stats': ({ guardian, path }) => ({
    model_stats: readStatistics(guardian, path.name, path.version),
  }),

  'POST /v2/repository/index': ({ guardian, body }) =>
    repositoryIndex(guardian, read(repositoryIndexBody, body).ready),
  'POST /v2/repository/models/:name/load': async ({ guardian, path, body, caller }) => {
    await loadModel(guardian, path.name, readParameters(body), caller);
    return {};
  },
  'POST /v2/repository/models/:name/unload': async ({ guardian, path, body, caller }) => {
    await unloadModel(guardian, path.name, readParameters(body), caller);
    return {};
  },
} satisfies Partial<Handlers>;

/** Statistics of what is loaded and of every version that was asked; throws `server.model-unknown`. */
export function readStatistics(guardian: ServedGuardian, name?: string, version?: string): ModelStatistics[] {
  const statistics = statisticsOf(guardian);
  const versions = new Map(
    [...loadedModels(guardian, name), ...statistics.asked(name)]
      .filter((each) => version === undefined || each.version === version)
      .map((each) => [`${each.name}@${each.version}`, each]),
  );
  if (versions.size === 0 && name !== undefined) throw unknownModel(name, version);
  return [...versions.values()].map((each) => statistics.read(each.name, each.version));
}

function loadedModels(guardian: ServedGuardian, name?: string) {
  const found = guardian.engine.current(name ?? guardian.modelName);
  return found === undefined ? [] : [found];
}

/** The specification's text names the field `ready`; its example says `live`. */
function readiness({ model }: AskedModel) {
  return { name: model.name, version: model.version, ready: true };
}

async function inferOverHttp(
  guardian: ServedGuardian,
  asked: AskedModel,
  parts: {
    readonly body: Buffer | undefined;
    readonly request: FastifyRequest;
    readonly reply: FastifyReply;
  },
): Promise<FastifyReply> {
  const { body, request, reply } = parts;
  const { headers, ip } = request;
  const source = trustedProxies(guardian).sourceOf(ip, headers['x-forwarded-for']);
  const waiting = { signal: signalOf(reply), source };
  const answer = await answerBody(guardian, asked, { body, headers, waiting });
  if ('json' in answer) return reply.type('application/json; charset=utf-8').send(answer.json);
  return reply
    .header(JSON_LENGTH_HEADER, String(answer.jsonLength))
    .type('application/octet-stream')
    .send(answer.body);
}

/** From the body of an HTTP request to that of its answer. Throws as `infer` does, and `server.body-malformed`. */
export function answerBody(
  guardian: ServedGuardian,
  asked: AskedModel,
  parts: {
    readonly body: Buffer | undefined;
    readonly headers: IncomingHttpHeaders;
    readonly waiting: Waiting;
  },
): Promise<InferAnswer> {
  const { body, headers, waiting } = parts;
  return infer(guardian, asked, {
    read: (loaded) => {
      const { json, blob } = splitBody(body, headerText(headers, JSON_LENGTH_HEADER));
      const call = readInferRequest(json, blob, loaded);
      const terms = termsOf(headers, call.terms);
      return terms === call.terms ? call : { ...call, terms };
    },
    write: writeAnswer,
    waiting,
    received: body === undefined ? undefined : [body],
  });
}

/** Headers say the same as the parameters, for who cannot change a body; the parameters win. */
function termsOf(headers: IncomingHttpHeaders, terms: InferTerms): InferTerms {
  const timeout = headerText(headers, 'guardian-timeout-ms');
  const priority = headerText(headers, 'guardian-priority');
  if (timeout === undefined && priority === undefined) return terms;
  const own = readTerms({
    ...(timeout !== undefined && { timeout: /^\d{1,7}$/.test(timeout) ? Number(timeout) * 1000 : timeout }),
    ...(priority !== undefined && { priority }),
  });
  return { ...own, ...terms, priority: terms.priority === 'batch' ? 'batch' : own.priority };
}

/** Aborts where the connection goes before the answer has gone. */
function signalOf(reply: FastifyReply): AbortSignal {
  const controller = new AbortController();
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) controller.abort();
  });
  return controller.signal;
}

function headerText(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name];
  return typeof value === 'string' ? value : value?.[0];
}

function readParameters(body: Buffer | undefined): RepositoryParameters {
  return read(repositoryLoadBody, body).parameters;
}

function read<S extends typeof repositoryIndexBody | typeof repositoryLoadBody>(
  schema: S,
  body: Buffer | undefined,
): ReturnType<S['parse']> {
  return parsePart(schema, 'body', optionalJson(body)) as ReturnType<S['parse']>;
}
