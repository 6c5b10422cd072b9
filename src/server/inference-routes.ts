import * as answers from './answers.ts';
import { SERVER_LIMITS } from './limits.ts';
import * as requests from './requests.ts';

const { bodyBytes, inferBytes } = SERVER_LIMITS;

/** Of both routes that score feature vectors. */
const INFERENCE = {
  role: 'viewer',
  body: requests.inferBody,
  headers: requests.inferHeaders,
  rawBody: true,
  accepts: ['application/json', 'application/octet-stream'],
  bodyBytes: inferBytes,
  answer: answers.inference,
  alsoAnswers: 'application/octet-stream',
} as const;

/** The Open Inference Protocol: metadata, scores, statistics, model repository. */
export const INFERENCE_ROUTES = {
  'GET /v2': { role: 'viewer', about: 'Server metadata.', answer: answers.serverMetadata },
  'GET /v2/health/live': { role: 'anyone', about: 'Whether the server runs.', answer: answers.live },
  'GET /v2/health/ready': {
    role: 'viewer',
    about: 'Whether the configured model is loaded; 503 where not.',
    answer: answers.ready,
  },
  'GET /v2/models/:name': {
    role: 'viewer',
    about: 'Metadata of a loaded model.',
    path: requests.modelPath,
    answer: answers.modelMetadata,
  },
  'GET /v2/models/:name/versions/:version': {
    role: 'viewer',
    about: 'Metadata of a loaded model version.',
    path: requests.servedPath,
    answer: answers.modelMetadata,
  },
  'GET /v2/models/:name/ready': {
    role: 'viewer',
    about: 'Whether a model is loaded; 404 where not.',
    path: requests.modelPath,
    answer: answers.modelReady,
  },
  'GET /v2/models/:name/versions/:version/ready': {
    role: 'viewer',
    about: 'Whether a model version is loaded; 404 where not.',
    path: requests.servedPath,
    answer: answers.modelReady,
  },
  'POST /v2/models/:name/infer': {
    ...INFERENCE,
    about: 'Scores feature vectors (Open Inference Protocol).',
    path: requests.modelPath,
  },
  'POST /v2/models/:name/versions/:version/infer': {
    ...INFERENCE,
    about: 'Scores feature vectors with this very version.',
    path: requests.servedPath,
  },
  'GET /v2/models/stats': {
    role: 'viewer',
    about: 'What the inference protocols did since the start, by model version.',
    answer: answers.modelStatistics,
  },
  'GET /v2/models/:name/stats': {
    role: 'viewer',
    about: 'The same of one model.',
    path: requests.modelPath,
    answer: answers.modelStatistics,
  },
  'GET /v2/models/:name/versions/:version/stats': {
    role: 'viewer',
    about: 'The same of one model version.',
    path: requests.servedPath,
    answer: answers.modelStatistics,
  },
  'POST /v2/repository/index': {
    role: 'viewer',
    about: 'Every version of the registry, and whether it serves.',
    body: requests.repositoryIndexBody,
    rawBody: true,
    bodyBytes,
    answer: answers.repositoryIndex,
  },
  'POST /v2/repository/models/:name/load': {
    role: 'operator',
    about:
      'Puts the champion in place, verified from its stored bytes; a version that is named asks for an approver.',
    path: requests.modelPath,
    body: requests.repositoryLoadBody,
    rawBody: true,
    bodyBytes,
    answer: answers.anyObject,
  },
  'POST /v2/repository/models/:name/unload': {
    role: 'operator',
    about: 'Takes a model out of service until it is loaded again.',
    path: requests.modelPath,
    body: requests.repositoryLoadBody,
    rawBody: true,
    bodyBytes,
    answer: answers.anyObject,
  },
} as const;
