import { type ErrorCatalogue, GuardianError, type GuardianErrorOptions } from '../base/index.ts';

/** Codes of `server`. */
export const SERVER_ERRORS = {
  'server.key-missing': {
    category: 'security',
    retry: false,
    says: 'The request carries no API key, token or client certificate; send `Authorization: Bearer ...`.',
  },
  'server.key-wrong': {
    category: 'security',
    retry: false,
    says: 'The API key is not one that was given out here.',
  },
  'server.key-expired': {
    category: 'security',
    retry: false,
    says: 'The API key was good and has expired; ask for a new one.',
  },
  'server.key-revoked': {
    category: 'security',
    retry: false,
    says: 'The API key was revoked.',
  },
  'server.role-missing': {
    category: 'security',
    retry: false,
    says: 'The caller does not have the role that this route asks for; the message names it.',
  },
  'server.too-many-attempts': {
    category: 'security',
    retry: true,
    says: 'This peer has sent too many bad keys within a minute; good keys are still taken from it.',
  },
  'server.training-unknown': {
    category: 'validation',
    retry: false,
    says: 'No training of this id told how it goes since the server started, or others came after it.',
  },
  'server.host-refused': {
    category: 'security',
    retry: false,
    says: 'The Host header is not a name of this server: a web page may have pointed its own name here.',
  },
  'server.origin-refused': {
    category: 'security',
    retry: false,
    says: 'The Origin header is not that of this server: a page of another site sent the request.',
  },
  'server.transport-refused': {
    category: 'security',
    retry: false,
    says: 'A network connection reached an application that trusts its callers; it serves its socket only.',
  },
  'server.tls-required': {
    category: 'security',
    retry: false,
    says: 'Another address than loopback needs `server.tls` and the names of the server in `server.allowedHosts`.',
  },
  'server.tls-invalid': {
    category: 'security',
    retry: false,
    says: 'A file of `server.tls` is missing, does not fit the others, is out of its time, or is open to others.',
  },
  'server.certificate-wrong': {
    category: 'security',
    retry: false,
    says: 'The client certificate is not from the configured authority, is out of its time, or is not for clients.',
  },
  'server.token-wrong': {
    category: 'security',
    retry: false,
    says: 'The OIDC token has no good signature of the configured issuer, or is not for this server.',
  },
  'server.token-expired': {
    category: 'security',
    retry: false,
    says: 'The OIDC token was good and has expired; get a new one from the issuer.',
  },
  'server.issuer-unavailable': {
    category: 'resource',
    retry: true,
    says: 'The keys of the OIDC issuer cannot be read, so no token can be checked.',
  },
  'server.rate-limited': {
    category: 'security',
    retry: true,
    says: 'This caller or address has sent more requests than `server.rateLimit` allows; Retry-After says when to go on.',
  },
  'server.overloaded': {
    category: 'resource',
    retry: true,
    says: 'More inference requests wait than this server can answer in time; the message says why this one went first, Retry-After when to come again.',
  },
  'server.body-too-large': {
    category: 'validation',
    retry: false,
    says: 'The body is longer than this route takes; split it.',
  },
  'server.content-type': {
    category: 'validation',
    retry: false,
    says: 'The body is not of a content type or encoding that this route takes; the message names them.',
  },
  'server.body-malformed': {
    category: 'validation',
    retry: false,
    says: 'The body is not JSON, or its length is not what was announced.',
  },
  'server.request-invalid': {
    category: 'validation',
    retry: false,
    says: 'A field of path, query or body is missing, unknown or outside its range; the message names it.',
  },
  'server.request-malformed': {
    category: 'validation',
    retry: false,
    says: 'What arrived is no HTTP request, or its headers are too long.',
  },
  'server.request-timeout': {
    category: 'validation',
    retry: true,
    says: 'The request did not arrive within its time.',
  },
  'server.too-many-rows': {
    category: 'validation',
    retry: false,
    says: 'The request holds more rows than one request may; send several.',
  },
  'server.tensor-invalid': {
    category: 'validation',
    retry: false,
    says: 'An input or output of the inference request does not fit the model metadata; the message says how.',
  },
  'server.model-unknown': {
    category: 'validation',
    retry: false,
    says: 'No model of this name and version is loaded here.',
  },
  'server.detection-unknown': {
    category: 'validation',
    retry: false,
    says: 'No detection has this uid.',
  },
  'server.access-unknown': {
    category: 'validation',
    retry: false,
    says: 'No API key and no certificate has this id.',
  },
  'server.not-found': {
    category: 'validation',
    retry: false,
    says: 'The server has no such path; /openapi.json lists those that it has.',
  },
  'server.method-not-allowed': {
    category: 'validation',
    retry: false,
    says: 'The path exists, but not with this method; the Allow header names those it has.',
  },
  'server.not-ready': {
    category: 'resource',
    retry: true,
    says: 'The server runs, but the configured model is not loaded; promote one.',
  },
  'server.streams-full': {
    category: 'resource',
    retry: true,
    says: 'As many streams as allowed are open.',
  },
  'server.route-undeclared': {
    category: 'security',
    retry: false,
    says: 'A route was added that the table of routes does not hold; the server refuses to be built.',
  },
  'server.internal': {
    category: 'resource',
    retry: false,
    says: 'Something failed that should not; the log of the server says what.',
  },
} as const satisfies ErrorCatalogue;

export type ServerErrorCode = keyof typeof SERVER_ERRORS;

export class ServerError extends GuardianError {
  constructor(code: ServerErrorCode, message: string, options?: GuardianErrorOptions) {
    super(SERVER_ERRORS, code, message, options);
  }
}
