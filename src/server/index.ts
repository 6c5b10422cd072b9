export { ensureAdminKey, findAdminKeyFile } from './access.ts';
export { buildServer } from './build-server.ts';
export { SERVER_ERRORS, ServerError, type ServerErrorCode } from './errors.ts';
export type { ServerOptions } from './gate.ts';
export type { ServedGuardian } from './handler.ts';
export { SERVER_LIMITS } from './limits.ts';
export { type HttpListening, type Listening, listenHttp, listenSocket } from './listen.ts';
export { openApiDocument } from './openapi.ts';
export { ROLES, type Role } from './roles.ts';
