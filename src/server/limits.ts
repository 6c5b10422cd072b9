/** Every bound of the server. Times in milliseconds, sizes in bytes. */
export const SERVER_LIMITS = {
  bodyBytes: 1024 * 1024,
  /** A batch of flows. */
  eventsBytes: 8 * 1024 * 1024,
  /** Inputs or outputs that one inference request may name. */
  tensors: 16,
  requestIdLength: 256,
  /** Feature vectors: the most rows of one request fit in, as 32-bit floats. */
  inferBytes: 8 * 1024 * 1024,
  /** What such a message of gRPC may hold beside packed or raw values. */
  inferEnvelopeBytes: 64 * 1024,
  /** A model in base64 with its schema and report. */
  publishBytes: 64 * 1024 * 1024,
  headerBytes: 16 * 1024,
  /** Longest part of a path. */
  parameterLength: 128,
  /** Flows, events or feature vectors of one request. */
  rows: 10_000,
  listedDetections: 1_000,
  listedEntries: 1_000,
  connections: 256,
  /** Of one address that is not this machine's own. */
  connectionsPerAddress: 64,
  handshakeTimeoutMs: 10_000,
  requestsPerConnection: 100_000,
  headersTimeoutMs: 10_000,
  /** For the whole request to arrive. */
  requestTimeoutMs: 60_000,
  keepAliveTimeoutMs: 30_000,
  /** Silence on a connection; longer than the heartbeat of streams. */
  idleTimeoutMs: 120_000,
  /** Work between two looks at the sockets, while requests wait. */
  turnMs: 10,
  /** Bytes of requests that wait on one connection; above it no more is read. */
  waitingBytes: 64 * 1024,
  streams: 32,
  /** Of them, those of one caller. */
  streamsPerCaller: 8,
  /** Streams of inference requests over gRPC, all connections together. */
  inferStreams: 64,
  /** Of them, those of one caller: nobody keeps all the others out. */
  inferStreamsPerCaller: 16,
  /** Requests of one such stream that are read before the first of them is answered. */
  streamPending: 16,
  /** Characters of what a status of gRPC says. */
  statusDetails: 1_024,
  /** Calls at once on one connection of gRPC. */
  callsPerConnection: 128,
  /** For calls to end when the server closes. */
  closeGraceMs: 5_000,
  streamHeartbeatMs: 15_000,
  /** States of findings that wait for one slow reader; older ones are dropped and counted. */
  streamBuffer: 256,
  /** Bad keys of one peer within a window before it is told to slow down. */
  badKeys: 20,
  badKeyWindowMs: 60_000,
  /** Peers whose bad keys are counted; the one seen first is forgotten for a new one. */
  countedPeers: 1_024,
  /** Addresses and principals with a token bucket of their own. */
  bucketNames: 4_096,
  /** How long the row of an API key is taken as it was read. */
  knownKeyMs: 1_000,
  /** How long it is taken while the database cannot be asked: who is let in then goes on being let in. */
  knownKeyAwayMs: 900_000,
  /** Characters of an OIDC token. */
  tokenLength: 8 * 1024,
  /** Values of the claim that gives roles which are looked at. */
  tokenRoles: 256,
  issuerBytes: 256 * 1024,
  issuerKeys: 64,
  issuerTimeoutMs: 5_000,
  /** Between two readings of the issuer's keys for a key that is not among them. */
  issuerCooldownMs: 30_000,
  /** Keys are used for as long as this after they grew old, where the issuer does not answer. */
  issuerStaleMs: 3_600_000,
} as const;
