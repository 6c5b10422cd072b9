import { BASE_ERRORS, BaseError, type ErrorCategory, GuardianError, isDiskFull } from '../base/index.ts';
import { SERVER_ERRORS, ServerError, type ServerErrorCode } from './errors.ts';

/** The body of every refusal. */
export interface RefusalBody {
  readonly error: string;
  readonly code: string;
  readonly category: ErrorCategory;
  readonly retry: boolean;
}

export interface Refusal {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: RefusalBody;
}

/** Codes whose status is not that of their category. */
const STATUS_OF_CODE: Readonly<Record<string, number>> = {
  'server.key-missing': 401,
  'server.key-wrong': 401,
  'server.key-expired': 401,
  'server.key-revoked': 401,
  'server.certificate-wrong': 401,
  'server.token-wrong': 401,
  'server.token-expired': 401,
  'server.role-missing': 403,
  'server.too-many-attempts': 429,
  'server.rate-limited': 429,
  'server.host-refused': 421,
  'server.origin-refused': 403,
  'server.transport-refused': 403,
  'server.body-too-large': 413,
  'server.too-many-rows': 413,
  'server.content-type': 415,
  'server.request-timeout': 408,
  'server.model-unknown': 404,
  'server.detection-unknown': 404,
  'server.access-unknown': 404,
  'server.not-found': 404,
  'alerts.detection-unknown': 404,
  'alerts.rule-unknown': 404,
  'alerts.rules-full': 409,
  'guardian.event-unknown': 404,
  'guardian.event-too-large': 413,
  'guardian.no-bus': 409,
  'server.training-unknown': 404,
  'server.method-not-allowed': 405,
  'registry.version-unknown': 404,
  'registry.alias-unknown': 404,
  'registry.key-unknown': 404,
  'registry.key-revoked': 409,
  'crypto.pin-wrong': 503,
  'crypto.pin-missing': 503,
  'crypto.pin-exposed': 503,
  'crypto.pin-locked-out': 503,
  'registry.version-exists': 409,
  'registry.gate-failed': 409,
  'registry.approvals-missing': 409,
  'registry.approver-is-author': 403,
  'registry.gate-data-missing': 409,
  'registry.gate-data-unfit': 422,
  'registry.certification-refused': 409,
  'registry.certification-unfit': 422,
  'registry.no-previous': 409,
  'registry.candidate-invalid': 422,
  'registry.version-erased': 410,
  'registry.version-pruned': 410,
  'registry.version-held': 409,
  'registry.version-in-use': 409,
  'registry.version-not-erased': 409,
  'registry.hold-unknown': 404,
  'registry.update-root-needed': 409,
  'registry.update-root-differs': 409,
  'registry.update-model-unknown': 404,
  'inference.no-model': 503,
  'inference.unexpected-model': 409,
  'inference.no-rollout': 404,
  'inference.rollout-refused': 409,
  'inference.schema-mismatch': 422,
  'inference.cancelled': 408,
  'training.roster-refused': 422,
  'training.message-refused': 422,
  'audit.entry-missing': 404,
  'audit.proof-invalid': 422,
};

/** Rooms whose validation errors are about the meaning of a well-formed request. */
const UNPROCESSABLE = /^(features|models|traffic|training)\./;

/** What fastify calls its own refusals. */
const CODE_OF_FRAMEWORK: Readonly<Record<string, readonly [ServerErrorCode, string]>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: ['server.body-too-large', 'the body is longer than this route takes'],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: ['server.content-type', 'the content type is not one this route takes'],
  FST_ERR_CTP_EMPTY_JSON_BODY: ['server.body-malformed', 'expected a JSON body, got none'],
  FST_ERR_CTP_INVALID_JSON_BODY: ['server.body-malformed', 'the body is not JSON'],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: ['server.body-malformed', 'the body has another length than announced'],
  FST_ERR_BAD_URL: ['server.request-invalid', 'the path is not a valid encoding'],
  FST_ERR_MAX_PARAM_LENGTH: ['server.request-invalid', 'a part of the path is too long'],
};

/** Numbers of gRPC, by name; https://grpc.github.io/grpc/core/md_doc_statuscodes.html. */
export const GRPC_STATUS = {
  cancelled: 1,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  dataLoss: 15,
  unauthenticated: 16,
} as const;

/** Codes whose status in gRPC is not that of their status in HTTP. */
const GRPC_STATUS_OF_CODE: Readonly<Record<string, number>> = {
  'inference.cancelled': GRPC_STATUS.cancelled,
  'inference.timeout': GRPC_STATUS.deadlineExceeded,
  'inference.overloaded': GRPC_STATUS.resourceExhausted,
  'server.streams-full': GRPC_STATUS.resourceExhausted,
};

const GRPC_STATUS_OF_HTTP: Readonly<Record<number, number>> = {
  401: GRPC_STATUS.unauthenticated,
  403: GRPC_STATUS.permissionDenied,
  404: GRPC_STATUS.notFound,
  405: GRPC_STATUS.unimplemented,
  408: GRPC_STATUS.deadlineExceeded,
  409: GRPC_STATUS.failedPrecondition,
  410: GRPC_STATUS.notFound,
  421: GRPC_STATUS.permissionDenied,
  429: GRPC_STATUS.resourceExhausted,
  503: GRPC_STATUS.unavailable,
};

/** The status of a refusal over gRPC. */
export function grpcStatusOf(error: GuardianError): number {
  const status = statusOf(error);
  const known = GRPC_STATUS_OF_CODE[error.code] ?? GRPC_STATUS_OF_HTTP[status];
  if (known !== undefined) return known;
  if (error.category === 'model') return GRPC_STATUS.failedPrecondition;
  if (status < 500) return GRPC_STATUS.invalidArgument;
  return error.category === 'security' ? GRPC_STATUS.dataLoss : GRPC_STATUS.internal;
}

/** What a caller is told about an error. An unknown one is an internal error without any detail. */
export function refusalOf(error: unknown): Refusal {
  const known = asGuardianError(error);
  const status = statusOf(known);
  const { code, category, retry } = known;
  return {
    status,
    headers: {
      ...(retry && { 'retry-after': String(retryAfterSeconds(known, status)) }),
      ...(status === 401 && { 'www-authenticate': 'Bearer realm="ai-guardian"' }),
    },
    body: { error: known.message, code, category, retry },
  };
}

/** The error itself, a framework's error in our words, or `server.internal`. */
export function asGuardianError(error: unknown): GuardianError {
  if (error instanceof GuardianError) return error;
  const framework = frameworkCode(error);
  if (framework !== undefined) return new ServerError(framework[0], framework[1], { cause: error });
  if (isDiskFull(error)) {
    return new BaseError('base.disk-full', BASE_ERRORS['base.disk-full'].says, { cause: error });
  }
  return new ServerError('server.internal', SERVER_ERRORS['server.internal'].says, { cause: error });
}

function retryAfterSeconds(error: GuardianError, status: number): number {
  const { retryAfterMs } = error;
  if (retryAfterMs !== undefined) return Math.max(1, Math.ceil(retryAfterMs / 1000));
  return status === 429 ? 60 : 1;
}

function frameworkCode(error: unknown): readonly [ServerErrorCode, string] | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  const code = 'code' in error && typeof error.code === 'string' ? CODE_OF_FRAMEWORK[error.code] : undefined;
  if (code !== undefined) return code;
  // JSON with a forbidden key such as __proto__ comes as a bare SyntaxError with status 400.
  const isBadJson = error instanceof SyntaxError && 'statusCode' in error && error.statusCode === 400;
  return isBadJson ? ['server.body-malformed', 'the body is not JSON, or holds a forbidden key'] : undefined;
}

function statusOf({ code, category, retry }: GuardianError): number {
  const own = STATUS_OF_CODE[code];
  if (own !== undefined) return own;
  switch (category) {
    case 'validation':
      return UNPROCESSABLE.test(code) ? 422 : 400;
    case 'model':
      return retry ? 503 : 422;
    case 'resource':
      return retry ? 503 : 500;
    case 'security':
      // What is stored here is not what was signed or logged: no request can mend that.
      return 500;
    default:
      return category satisfies never;
  }
}
