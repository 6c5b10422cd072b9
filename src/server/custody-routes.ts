import * as answers from './custody-answers.ts';
import * as requests from './custody-requests.ts';
import { SERVER_LIMITS } from './limits.ts';

const { bodyBytes } = SERVER_LIMITS;

/** Routes of what becomes of versions after their publication; part of `ROUTES`, which checks their form. */
export const CUSTODY_ROUTES = {
  'GET /v1/models/:name/versions/:version/lineage': {
    role: 'viewer',
    about: 'Where a version comes from and what it took the place of.',
    path: requests.custodyPath,
    answer: answers.lineage,
  },
  'GET /v1/models/:name/versions/:version/bom': {
    role: 'viewer',
    about: 'CycloneDX 1.6 ML-BOM of a version.',
    path: requests.custodyPath,
    answer: answers.bom,
  },
  'GET /v1/models/:name/versions/:version/card': {
    role: 'viewer',
    about: 'Model card of a version, in Markdown.',
    path: requests.custodyPath,
    answer: answers.card,
  },
  'POST /v1/models/:name/versions/:version/tags': {
    role: 'operator',
    about: 'Sets tags of a version, or takes them away.',
    path: requests.custodyPath,
    body: requests.tagsBody,
    bodyBytes,
    answer: answers.tags,
  },
  'POST /v1/models/:name/versions/:version/holds': {
    role: 'auditor',
    about: 'Holds a version: it is neither pruned nor erased.',
    path: requests.custodyPath,
    body: requests.holdBody,
    bodyBytes,
    answer: answers.placedHold,
    status: 201,
  },
  'POST /v1/models/:name/versions/:version/holds/release': {
    role: 'auditor',
    about: 'Releases a hold.',
    path: requests.custodyPath,
    body: requests.releaseBody,
    bodyBytes,
    answer: answers.released,
  },
  'POST /v1/models/:name/versions/:version/erase': {
    role: 'admin',
    about: 'Cryptographic erase: destroys every wrap of the data key.',
    path: requests.custodyPath,
    body: requests.eraseBody,
    bodyBytes,
    answer: answers.eraseStatus,
  },
  'GET /v1/models/:name/versions/:version/erase': {
    role: 'auditor',
    about: 'Where an erase stands: complete only when the last escrowed wrap has expired.',
    path: requests.custodyPath,
    answer: answers.eraseStatus,
  },
  'POST /v1/models/:name/prune': {
    role: 'operator',
    about: 'Removes the weights of versions that no retention rule keeps, or says which.',
    path: requests.custodyNamePath,
    body: requests.pruneBody,
    bodyBytes,
    answer: answers.pruned,
  },
  'POST /v1/escrow': {
    role: 'operator',
    about: 'Copies the key wraps into escrow, to be run beside each backup.',
    answer: answers.escrowed,
  },
  'POST /v1/escrow/restore': {
    role: 'admin',
    about: 'Puts lost key wraps back from escrow, but never those of erased versions.',
    answer: answers.restored,
  },
} as const;
