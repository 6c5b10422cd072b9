/** Codes of the client itself; every other code is the server's. */
export const CLIENT_ERRORS = {
  'client.unreachable': {
    category: 'resource',
    retry: true,
    says: 'Nobody answered at the address, or the connection broke; whether the server did the work is not known.',
  },
  'client.answer-malformed': {
    category: 'resource',
    retry: false,
    says: 'What answered does not speak as a guardian does: look at the address, and at proxies between.',
  },
  'client.request-invalid': {
    category: 'validation',
    retry: false,
    says: 'A part of the request that the route needs is missing or does not fit; nothing was sent.',
  },
} as const;

export type ClientErrorCode = keyof typeof CLIENT_ERRORS;

export type ClientErrorCategory = 'model' | 'resource' | 'security' | 'validation';

/** A refusal as the server told it, or what kept a call from being answered. */
export class GuardianClientError extends Error {
  /** Stable; docs/errors.md holds them all. */
  readonly code: string;
  readonly category: ClientErrorCategory;
  /** Whether the same call may succeed later. */
  readonly retry: boolean;
  /** Of HTTP; 0 where nobody answered. */
  readonly status: number;
  /** Milliseconds from now until the same call may succeed; where that was said. */
  readonly retryAfterMs: number | undefined;

  constructor(
    message: string,
    fields: Pick<GuardianClientError, 'code' | 'category' | 'retry' | 'status' | 'retryAfterMs'>,
    cause?: unknown,
  ) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'GuardianClientError';
    this.code = fields.code;
    this.category = fields.category;
    this.retry = fields.retry;
    this.status = fields.status;
    this.retryAfterMs = fields.retryAfterMs;
  }
}

/** An error of the client's own. */
export function clientError(
  code: ClientErrorCode,
  message: string,
  options: { readonly status?: number; readonly cause?: unknown } = {},
): GuardianClientError {
  const { category, retry } = CLIENT_ERRORS[code];
  const fields = { code, category, retry, status: options.status ?? 0, retryAfterMs: undefined };
  return new GuardianClientError(message, fields, options.cause);
}

/** What an answer that is not 2xx says. */
export async function refusalOf(response: Response): Promise<GuardianClientError> {
  const { status } = response;
  const text = await response.text().catch(() => '');
  let body: Record<string, unknown> = {};
  try {
    body = Object(JSON.parse(text)) as Record<string, unknown>;
  } catch {
    // Not JSON: something between answered.
  }
  const { error, code, category, retry } = body;
  if (typeof error !== 'string' || typeof code !== 'string' || !isCategory(category)) {
    return clientError('client.answer-malformed', `the answer had status ${status} and no code`, { status });
  }
  const retryAfterMs = retryAfter(response.headers.get('retry-after'));
  return new GuardianClientError(error, { code, category, retry: retry === true, status, retryAfterMs });
}

/** Whole seconds, as a guardian sends them. */
function retryAfter(header: string | null): number | undefined {
  return header !== null && /^\d{1,6}$/.test(header) ? Number(header) * 1000 : undefined;
}

function isCategory(value: unknown): value is ClientErrorCategory {
  return value === 'model' || value === 'resource' || value === 'security' || value === 'validation';
}
