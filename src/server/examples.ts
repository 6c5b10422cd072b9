import type { RouteKey } from './routes.ts';

/** What a caller could send; a test sends it. */
export interface RouteExample {
  readonly path?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string | number>>;
  readonly body?: unknown;
}

/** A scan's probe that nobody answered. */
const PROBE = {
  sourceKind: 'packets',
  protocol: 6,
  sourceAddress: '198.51.100.7',
  destinationAddress: '192.0.2.10',
  sourcePort: 40_000,
  destinationPort: 22,
  startMs: 1_795_435_200_000,
  endMs: 1_795_435_200_500,
  forward: { packets: 2, bytes: 120, payloadBytes: 0, tcpFlags: 2 },
  backward: { packets: 0, bytes: 0, payloadBytes: 0, tcpFlags: 0 },
  state: 'S0',
};

const flow = { name: 'flow' };

/** Examples of the OpenAPI document, on a registry with the versions 1.0.0 and 1.1.0 of `flow`, in this order. */
export const EXAMPLES: Partial<Record<RouteKey, RouteExample>> = {
  'POST /v1/events': { query: { route: 'sensor-7' }, body: [PROBE] },
  'POST /v1/events/queue': { query: { route: 'sensor-7' }, body: [PROBE] },
  'GET /v1/events/:id': { path: { id: 'efeffb7a279e24ee11b695f692381088' } },
  'POST /v1/events/end': { query: { route: 'sensor-7' } },
  'POST /v2/models/:name/infer': {
    path: flow,
    body: {
      id: 'first',
      // The columns of flow-core: three categories, then numbers, of which most are not known here.
      inputs: [
        {
          name: 'features',
          datatype: 'FP32',
          shape: [1, 60],
          data: [0, 0, 0, 0.5, 6.9, ...Array.from({ length: 55 }, () => null)],
        },
      ],
    },
  },
  'GET /v2/models/:name': { path: flow },
  'POST /v2/repository/index': { body: { ready: true } },
  'GET /v1/detections': {
    query: { limit: 5, since: '2026-11-23T00:00:00Z', source: '198.51.100.7', format: 'ocsf' },
  },
  'GET /v1/hosts/:address': { path: { address: '198.51.100.7' } },
  'GET /v1/models/:name': { path: flow, query: { version: 'champion' } },
  'GET /v1/models/:name/verify': { path: flow, query: { version: '1.0.0' } },
  'POST /v1/models/:name/approve': { path: flow, body: { version: '1.1.0' } },
  'POST /v1/models/:name/promote': { path: flow, body: { version: '1.1.0', alias: 'champion' } },
  'POST /v1/models/:name/rollback': { path: flow, body: { alias: 'champion' } },
  'GET /v1/models/:name/history': { path: flow },
  'GET /v1/audit': { query: { from: 0, limit: 10 } },
  'GET /v1/audit/proof/:index': { path: { index: '0' } },
  'GET /v1/audit/consistency': { query: { from: 1, to: 2 } },
  'POST /v1/audit/verify': { body: { witnessKeys: [] } },
  'POST /v1/access': { body: { label: 'sensor-7', roles: ['submitter'], days: 30 } },
  'POST /v1/access/certificates': { body: { certificate: 'sensor-7', roles: ['submitter'], days: 30 } },
};
