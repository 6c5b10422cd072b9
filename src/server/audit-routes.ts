import * as answers from './answers.ts';
import { SERVER_LIMITS } from './limits.ts';
import * as requests from './requests.ts';

const { bodyBytes } = SERVER_LIMITS;

/** The log: its entries, proofs and checkpoints, and the tiles that anyone may be let read. */
export const AUDIT_ROUTES = {
  'GET /v1/audit': {
    role: 'auditor',
    about: 'Entries of the audit log, oldest of the page first.',
    query: requests.auditQuery,
    answer: answers.auditEntries,
  },
  'GET /v1/audit/checkpoint': {
    role: 'auditor',
    about: 'A signed checkpoint over every durable entry.',
    answer: answers.checkpoint,
  },
  'GET /v1/audit/proof/:index': {
    role: 'auditor',
    about: 'An offline proof that an entry is in the log (C2SP tlog-proof).',
    path: requests.indexPath,
    answer: answers.proof,
  },
  'GET /v1/audit/verify': {
    role: 'auditor',
    about: 'Recomputes the whole log.',
    answer: answers.auditVerified,
  },
  'POST /v1/audit/verify': {
    role: 'auditor',
    about: 'Recomputes the whole log, and compares it with a checkpoint kept elsewhere.',
    body: requests.auditVerifyBody,
    bodyBytes,
    answer: answers.auditVerified,
  },

  'GET /v1/audit/consistency': {
    role: 'auditor',
    about: 'A proof that the log of one size continues that of another (RFC 6962).',
    query: requests.consistencyQuery,
    answer: answers.consistency,
  },
  'GET /checkpoint': {
    role: 'auditor',
    publicWhen: 'publicTiles',
    about: 'The last checkpoint, witnessed where there are witnesses (C2SP tlog-tiles).',
    answer: 'text/plain',
  },
  'GET /tile/*': {
    role: 'auditor',
    publicWhen: 'publicTiles',
    about: 'Hash tiles and entry bundles under their C2SP tlog-tiles paths: 0/000, entries/x001/067.p/12.',
    answer: 'application/octet-stream',
  },
} as const;
