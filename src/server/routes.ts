import type { z } from 'zod';
import * as answers from './answers.ts';
import { AUDIT_ROUTES } from './audit-routes.ts';
import { CUSTODY_ROUTES } from './custody-routes.ts';
import { extractionBody } from './extraction-requests.ts';
import { INFERENCE_ROUTES } from './inference-routes.ts';
import { KEY_ROUTES } from './key-routes.ts';
import { SERVER_LIMITS } from './limits.ts';
import { QUEUE_ROUTES } from './queue-routes.ts';
import * as requests from './requests.ts';
import type { Role } from './roles.ts';
import { ROLLOUT_ROUTES } from './rollout-routes.ts';
import { TRAINING_ROUTES } from './training-routes.ts';
import { TRIAGE_ROUTES } from './triage-routes.ts';
import { UPDATE_ROUTES } from './update-routes.ts';

/** What is known about a route before any code of it runs. */
export interface RouteSpec {
  /** Who may call it; `anyone` needs no key. */
  readonly role: Role | 'anyone';
  /** The field of the section `audit` of the configuration that opens it to anyone. */
  readonly publicWhen?: 'publicTiles';
  readonly about: string;
  readonly path?: z.ZodType;
  readonly query?: z.ZodType;
  readonly body?: z.ZodType;
  /** JSON only by default. */
  readonly accepts?: readonly string[];
  readonly bodyBytes?: number;
  /** The handler gets the bytes as they came and checks them itself; `body` is what they should be. */
  readonly rawBody?: true;
  /** Headers that mean something here. */
  readonly headers?: z.ZodType;
  /** A content type beside JSON that the answer may have. */
  readonly alsoAnswers?: string;
  /** Of the answer; a content type where it is not JSON. */
  readonly answer: z.ZodType | string;
  readonly status?: number;
}

const { bodyBytes, eventsBytes, publishBytes } = SERVER_LIMITS;

/** Every route, by method and path. One that does not stand here cannot be served. */
export const ROUTES = {
  'GET /': { role: 'anyone', about: 'A page that says what runs here.', answer: 'text/html' },
  'GET /openapi.json': { role: 'viewer', about: 'This document.', answer: answers.anyObject },
  'GET /metrics': { role: 'viewer', about: 'Metrics in the Prometheus text format.', answer: 'text/plain' },

  ...INFERENCE_ROUTES,
  'POST /v1/events': {
    role: 'submitter',
    about:
      'Takes flow records in: a JSON array, a record a line, or the lines of a log of Zeek (TSV or JSON) or Suricata (EVE).',
    query: requests.eventsQuery,
    body: requests.eventsBody,
    accepts: ['application/json', 'application/x-ndjson', 'text/tab-separated-values'],
    bodyBytes: eventsBytes,
    answer: answers.ingested,
  },
  ...QUEUE_ROUTES,
  'POST /v1/events/end': {
    role: 'submitter',
    about: 'Ends a stream of flows: closes its findings and forgets its windows.',
    query: requests.eventsEndQuery,
    answer: answers.detections,
  },
  'POST /v1/extractions': {
    role: 'operator',
    about: 'Notes in the audit log what a run made of a source.',
    body: extractionBody,
    bodyBytes,
    answer: answers.extractionNoted,
    status: 201,
  },
  'POST /v1/score/:name': {
    role: 'viewer',
    about: 'Scores events given as named features.',
    path: requests.modelPath,
    body: requests.scoreBody,
    bodyBytes,
    answer: answers.scores,
  },
  'GET /v1/detections': {
    role: 'viewer',
    about: 'Detections, newest first; `format` gives OCSF, EVE or CEF.',
    query: requests.detectionsQuery,
    answer: answers.detections,
  },
  'GET /v1/detections/stream': {
    role: 'viewer',
    about: 'New states of detections as server-sent events.',
    answer: 'text/event-stream',
  },
  'GET /v1/detections/:uid': {
    role: 'viewer',
    about: 'One detection, with what an analyst said of it.',
    path: requests.uidPath,
    answer: answers.anyObject,
  },

  ...TRIAGE_ROUTES,

  'GET /v1/hosts/:address': {
    role: 'viewer',
    about: 'What a host did lately as the source of flows, and what threat intelligence says of it.',
    path: requests.hostPath,
    answer: answers.host,
  },

  'GET /v1/models': { role: 'viewer', about: 'Every published version.', answer: answers.models },
  'GET /v1/models/:name': {
    role: 'viewer',
    about: 'One version, verified: manifest, gate report, history.',
    path: requests.modelPath,
    query: requests.versionQuery,
    answer: answers.modelDetails,
  },
  'GET /v1/models/:name/history': {
    role: 'viewer',
    about: 'Every move of the aliases, oldest first.',
    path: requests.modelPath,
    answer: answers.history,
  },
  'GET /v1/models/:name/verify': {
    role: 'viewer',
    about: 'Verifies a stored version from its bytes.',
    path: requests.modelPath,
    query: requests.versionQuery,
    answer: answers.verified,
  },
  'POST /v1/models/:name/versions': {
    role: 'submitter',
    about: 'Publishes a trained model with its gate report.',
    path: requests.modelPath,
    body: requests.publishBody,
    bodyBytes: publishBytes,
    answer: answers.published,
    status: 201,
  },
  'GET /v1/models/:name/versions/:version/export': {
    role: 'operator',
    about: 'The five files of a signed version, in base64; the weights in the clear.',
    path: requests.versionPath,
    answer: answers.exported,
  },
  'POST /v1/models/import': {
    role: 'operator',
    about:
      'Takes in an export of another registry that a trusted key or certificate signed; signed anew here.',
    body: requests.importBody,
    bodyBytes: publishBytes,
    answer: answers.published,
    status: 201,
  },
  'POST /v1/models/:name/approve': {
    role: 'approver',
    about: 'Records that the caller, who is not its author, approves a version.',
    path: requests.modelPath,
    body: requests.approveBody,
    bodyBytes,
    answer: answers.approved,
    status: 201,
  },
  'GET /v1/models/:name/gate-data': {
    role: 'viewer',
    about: 'The data that the gates of a model are run on at the door.',
    path: requests.modelPath,
    answer: answers.gateData,
  },
  'POST /v1/models/:name/gate-data': {
    role: 'approver',
    about: 'Registers such data by path and digest.',
    path: requests.modelPath,
    body: requests.gateDataBody,
    bodyBytes,
    answer: answers.gateDataAdded,
    status: 201,
  },
  'POST /v1/models/:name/certify': {
    role: 'approver',
    about: 'Certifies a version on the registered data: what its decisions may be trusted with.',
    path: requests.modelPath,
    body: requests.certifyBody,
    bodyBytes,
    answer: answers.certified,
    status: 201,
  },
  'GET /v1/models/:name/served': {
    role: 'viewer',
    about: 'What an alias pointed at, at one time: who approved it, on what evidence, with proofs.',
    path: requests.modelPath,
    query: requests.servedQuery,
    answer: answers.served,
  },
  'POST /v1/models/:name/promote': {
    role: 'approver',
    about: 'Points an alias at a version that is approved and passes its gates.',
    path: requests.modelPath,
    body: requests.promoteBody,
    bodyBytes,
    answer: answers.aliasChange,
  },
  'POST /v1/models/:name/rollback': {
    role: 'operator',
    about: 'Takes an alias back to the approved version before.',
    path: requests.modelPath,
    body: requests.rollbackBody,
    bodyBytes,
    answer: answers.aliasChange,
  },

  ...CUSTODY_ROUTES,
  ...ROLLOUT_ROUTES,
  ...UPDATE_ROUTES,
  ...TRAINING_ROUTES,

  ...AUDIT_ROUTES,
  ...KEY_ROUTES,
  'GET /v1/access': {
    role: 'admin',
    about: 'API keys, without their secrets, and certificates, with their roles.',
    answer: answers.accessList,
  },
  'POST /v1/access/certificates': {
    role: 'admin',
    about: 'Gives roles to client certificates of a name, or to the one of a fingerprint.',
    body: requests.certificateBody,
    bodyBytes,
    answer: answers.certificateAdded,
    status: 201,
  },
  'POST /v1/access': {
    role: 'admin',
    about: 'Makes an API key and shows it once.',
    body: requests.accessBody,
    bodyBytes,
    answer: answers.accessAdded,
    status: 201,
  },
  'DELETE /v1/access/:id': {
    role: 'admin',
    about: 'Revokes an API key, or the roles of a certificate.',
    path: requests.accessPath,
    answer: answers.accessRevoked,
  },
  'GET /v1/config': {
    role: 'operator',
    about: 'The configuration in force, and where each value came from.',
    answer: answers.configuration,
  },
  'GET /v1/errors': {
    role: 'operator',
    about: 'The last refusals by code and route, oldest first.',
    answer: answers.recentErrors,
  },
  'GET /v1/status': {
    role: 'viewer',
    about: 'Versions, loaded models, readings and counters.',
    answer: answers.status,
  },
} as const satisfies Readonly<Record<`${'GET' | 'POST' | 'DELETE'} /${string}`, RouteSpec>>;

export type RouteKey = keyof typeof ROUTES;

export const ROUTE_KEYS = Object.keys(ROUTES) as readonly RouteKey[];

/** Method and path of a key. */
export function splitKey(key: RouteKey): {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly url: string;
} {
  const space = key.indexOf(' ');
  return { method: key.slice(0, space) as 'GET' | 'POST' | 'DELETE', url: key.slice(space + 1) };
}

/** The entry of a route as fastify names it, or undefined. */
export function findRoute(method: string, url: string): { key: RouteKey; spec: RouteSpec } | undefined {
  const key = `${method} ${url}`;
  return Object.hasOwn(ROUTES, key) ? { key: key as RouteKey, spec: ROUTES[key as RouteKey] } : undefined;
}

const PATTERNS = ROUTE_KEYS.map((key) => {
  const { method, url } = splitKey(key);
  return { method, pattern: new RegExp(`^${url.replaceAll(/:[a-z]+/g, '[^/]+').replace('*', '.+')}/?$`) };
});

/** Methods that a concrete path can be called with. */
export function methodsOf(path: string): readonly string[] {
  return PATTERNS.filter(({ pattern }) => pattern.test(path)).map(({ method }) => method);
}
