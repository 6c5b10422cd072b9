/** Made from the OpenAPI document by `npm run docs`: what each route takes and answers. */
export interface Routes {
  /** A page that says what runs here. */
  'GET /': {
    path: undefined;
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: string;
  };
  /** This document. */
  'GET /openapi.json': {
    path: undefined;
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: { [name: string]: unknown };
  };
  /** Metrics in the Prometheus text format. */
  'GET /metrics': {
    path: undefined;
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: string;
  };
  /** Server metadata. */
  'GET /v2': {
    path: undefined;
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: { name: string; version: string; extensions: readonly string[]; [name: string]: unknown };
  };
  /** Whether the server runs. */
  'GET /v2/health/live': {
    path: undefined;
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: { live: true; [name: string]: unknown };
  };
  /** Whether the configured model is loaded; 503 where not. */
  'GET /v2/health/ready': {
    path: undefined;
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: { ready: true; degraded?: readonly string[]; [name: string]: unknown };
  };
  /** Metadata of a loaded model. */
  'GET /v2/models/:name': {
    path: { name: string };
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: {
      name: string;
      versions: readonly string[];
      platform: string;
      inputs: readonly {
        name: string;
        datatype: string;
        shape: readonly number[];
        [name: string]: unknown;
      }[];
      outputs: readonly {
        name: string;
        datatype: string;
        shape: readonly number[];
        [name: string]: unknown;
      }[];
      properties: { [name: string]: string };
      [name: string]: unknown;
    };
  };
  /** Metadata of a loaded model version. */
  'GET /v2/models/:name/versions/:version': {
    path: { name: string; version: string };
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: {
      name: string;
      versions: readonly string[];
      platform: string;
      inputs: readonly {
        name: string;
        datatype: string;
        shape: readonly number[];
        [name: string]: unknown;
      }[];
      outputs: readonly {
        name: string;
        datatype: string;
        shape: readonly number[];
        [name: string]: unknown;
      }[];
      properties: { [name: string]: string };
      [name: string]: unknown;
    };
  };
  /** Whether a model is loaded; 404 where not. */
  'GET /v2/models/:name/ready': {
    path: { name: string };
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: { name: string; ready: true; [name: string]: unknown };
  };
  /** Whether a model version is loaded; 404 where not. */
  'GET /v2/models/:name/versions/:version/ready': {
    path: { name: string; version: string };
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: { name: string; ready: true; [name: string]: unknown };
  };
  /** Scores feature vectors (Open Inference Protocol). */
  'POST /v2/models/:name/infer': {
    path: { name: string };
    query: undefined;
    headers: {
      /** length of the JSON where bytes follow */
      'inference-header-content-length'?: number;
      'guardian-timeout-ms'?: number;
      'guardian-priority'?: 'live' | 'batch';
    };
    body:
      | {
          /** repeated in the answer */
          id?: string;
          parameters?: {
            /** all outputs as bytes after the JSON */
            binary_data_output?: boolean;
            /** microseconds from now until when an answer is of use */
            timeout?: number;
            /** batch, or above 1: behind live traffic */
            priority?: 'live' | 'batch' | number;
            [name: string]: unknown;
          };
          inputs: readonly {
            name: string;
            shape: readonly number[];
            datatype: string;
            parameters?: {
              /** bytes after the JSON */
              binary_data_size?: number;
              [name: string]: unknown;
            };
            /** nested or flat, row-major; null is a missing value */
            data?: readonly unknown[];
            [name: string]: unknown;
          }[];
          outputs?: readonly {
            name: string;
            parameters?: { binary_data?: boolean; [name: string]: unknown };
            [name: string]: unknown;
          }[];
          [name: string]: unknown;
        }
      | Uint8Array;
    answer: {
      model_name: string;
      model_version: string;
      id?: string;
      parameters: { [name: string]: unknown };
      outputs: readonly {
        name: string;
        datatype: string;
        shape: readonly number[];
        parameters?: { binary_data_size: number; [name: string]: unknown };
        data?: readonly (string | number)[];
        [name: string]: unknown;
      }[];
      [name: string]: unknown;
    };
  };
  /** Scores feature vectors with this very version. */
  'POST /v2/models/:name/versions/:version/infer': {
    path: { name: string; version: string };
    query: undefined;
    headers: {
      /** length of the JSON where bytes follow */
      'inference-header-content-length'?: number;
      'guardian-timeout-ms'?: number;
      'guardian-priority'?: 'live' | 'batch';
    };
    body:
      | {
          /** repeated in the answer */
          id?: string;
          parameters?: {
            /** all outputs as bytes after the JSON */
            binary_data_output?: boolean;
            /** microseconds from now until when an answer is of use */
            timeout?: number;
            /** batch, or above 1: behind live traffic */
            priority?: 'live' | 'batch' | number;
            [name: string]: unknown;
          };
          inputs: readonly {
            name: string;
            shape: readonly number[];
            datatype: string;
            parameters?: {
              /** bytes after the JSON */
              binary_data_size?: number;
              [name: string]: unknown;
            };
            /** nested or flat, row-major; null is a missing value */
            data?: readonly unknown[];
            [name: string]: unknown;
          }[];
          outputs?: readonly {
            name: string;
            parameters?: { binary_data?: boolean; [name: string]: unknown };
            [name: string]: unknown;
          }[];
          [name: string]: unknown;
        }
      | Uint8Array;
    answer: {
      model_name: string;
      model_version: string;
      id?: string;
      parameters: { [name: string]: unknown };
      outputs: readonly {
        name: string;
        datatype: string;
        shape: readonly number[];
        parameters?: { binary_data_size: number; [name: string]: unknown };
        data?: readonly (string | number)[];
        [name: string]: unknown;
      }[];
      [name: string]: unknown;
    };
  };
  /** What the inference protocols did since the start, by model version. */
  'GET /v2/models/stats': {
    path: undefined;
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: {
      model_stats: readonly {
        name: string;
        version: string;
        last_inference: number;
        inference_count: number;
        execution_count: number;
        inference_stats: {
          success: { count: number; ns: number; [name: string]: unknown };
          fail: { count: number; ns: number; [name: string]: unknown };
          queue: { count: number; ns: number; [name: string]: unknown };
          compute_input: { count: number; ns: number; [name: string]: unknown };
          compute_infer: { count: number; ns: number; [name: string]: unknown };
          compute_output: { count: number; ns: number; [name: string]: unknown };
          [name: string]: unknown;
        };
        batch_stats: readonly {
          batch_size: number;
          compute_input: { count: number; ns: number; [name: string]: unknown };
          compute_infer: { count: number; ns: number; [name: string]: unknown };
          compute_output: { count: number; ns: number; [name: string]: unknown };
          [name: string]: unknown;
        }[];
        [name: string]: unknown;
      }[];
      [name: string]: unknown;
    };
  };
  /** The same of one model. */
  'GET /v2/models/:name/stats': {
    path: { name: string };
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: {
      model_stats: readonly {
        name: string;
        version: string;
        last_inference: number;
        inference_count: number;
        execution_count: number;
        inference_stats: {
          success: { count: number; ns: number; [name: string]: unknown };
          fail: { count: number; ns: number; [name: string]: unknown };
          queue: { count: number; ns: number; [name: string]: unknown };
          compute_input: { count: number; ns: number; [name: string]: unknown };
          compute_infer: { count: number; ns: number; [name: string]: unknown };
          compute_output: { count: number; ns: number; [name: string]: unknown };
          [name: string]: unknown;
        };
        batch_stats: readonly {
          batch_size: number;
          compute_input: { count: number; ns: number; [name: string]: unknown };
          compute_infer: { count: number; ns: number; [name: string]: unknown };
          compute_output: { count: number; ns: number; [name: string]: unknown };
          [name: string]: unknown;
        }[];
        [name: string]: unknown;
      }[];
      [name: string]: unknown;
    };
  };
  /** The same of one model version. */
  'GET /v2/models/:name/versions/:version/stats': {
    path: { name: string; version: string };
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: {
      model_stats: readonly {
        name: string;
        version: string;
        last_inference: number;
        inference_count: number;
        execution_count: number;
        inference_stats: {
          success: { count: number; ns: number; [name: string]: unknown };
          fail: { count: number; ns: number; [name: string]: unknown };
          queue: { count: number; ns: number; [name: string]: unknown };
          compute_input: { count: number; ns: number; [name: string]: unknown };
          compute_infer: { count: number; ns: number; [name: string]: unknown };
          compute_output: { count: number; ns: number; [name: string]: unknown };
          [name: string]: unknown;
        };
        batch_stats: readonly {
          batch_size: number;
          compute_input: { count: number; ns: number; [name: string]: unknown };
          compute_infer: { count: number; ns: number; [name: string]: unknown };
          compute_output: { count: number; ns: number; [name: string]: unknown };
          [name: string]: unknown;
        }[];
        [name: string]: unknown;
      }[];
      [name: string]: unknown;
    };
  };
  /** Every version of the registry, and whether it serves. */
  'POST /v2/repository/index': {
    path: undefined;
    query: undefined;
    headers: undefined;
    body: {
      /** only what serves */
      ready?: boolean;
    };
    answer: readonly {
      name: string;
      version: string;
      state: 'READY' | 'UNAVAILABLE';
      reason: string;
      [name: string]: unknown;
    }[];
  };
  /** Puts the champion in place, verified from its stored bytes; a version that is named asks for an approver. */
  'POST /v2/repository/models/:name/load': {
    path: { name: string };
    query: undefined;
    headers: undefined;
    body: {
      /** load takes `version`; the champion by default. Bytes and settings of others are refused */
      parameters?: { [name: string]: unknown };
    };
    answer: { [name: string]: unknown };
  };
  /** Takes a model out of service until it is loaded again. */
  'POST /v2/repository/models/:name/unload': {
    path: { name: string };
    query: undefined;
    headers: undefined;
    body: {
      /** load takes `version`; the champion by default. Bytes and settings of others are refused */
      parameters?: { [name: string]: unknown };
    };
    answer: { [name: string]: unknown };
  };
  /** Takes flow records in: a JSON array, a record a line, or the lines of a log of Zeek (TSV or JSON) or Suricata (EVE). */
  'POST /v1/events': {
    path: undefined;
    query: {
      /** names the stream; each has windows of its own */
      route?: string;
      /** registry reference; the configured model by default */
      model?: string;
    };
    headers: undefined;
    body: readonly unknown[] | { flows: readonly unknown[] } | string | Uint8Array;
    answer: {
      flows: number;
      rejects: { [name: string]: number };
      /** lines of a log that are no flow, by code */
      unread?: { [name: string]: number };
      verdicts: { attack: number; benign: number; abstain: number; [name: string]: unknown };
      decisions: { [name: string]: number };
      detections: readonly { [name: string]: unknown }[];
      [name: string]: unknown;
    };
  };
  /** Queues flows for the workers as one event; answered when the bus holds it. Takes what POST /v1/events takes. */
  'POST /v1/events/queue': {
    path: undefined;
    query: {
      /** names the stream; each has windows of its own */
      route?: string;
      /** registry reference; the configured model by default */
      model?: string;
    };
    headers: {
      /** events of one caller under the same key are one event: send again what was not answered */
      'idempotency-key'?: string;
    };
    body: readonly unknown[] | { flows: readonly unknown[] } | string | Uint8Array;
    answer: {
      /** 32 hexadecimal digits */
      id: string;
      /** waiting: acknowledged, and no result is kept */
      state: 'waiting' | 'done' | 'failed';
      /** of the result, RFC 3339 */
      storedAt?: string;
      route?: string;
      worker?: string;
      flows?: number;
      rejects?: { [name: string]: number };
      verdicts?: { attack: number; benign: number; abstain: number; [name: string]: unknown };
      /** on the attacks among them */
      decisions?: { [name: string]: number };
      /** uids of the findings that it raised or changed */
      detections?: readonly string[];
      failed?: { code: string; message: string; [name: string]: unknown };
      [name: string]: unknown;
    };
  };
  /** What a queued event came to, or that it waits. */
  'GET /v1/events/:id': {
    path: { id: string };
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: {
      /** 32 hexadecimal digits */
      id: string;
      /** waiting: acknowledged, and no result is kept */
      state: 'waiting' | 'done' | 'failed';
      /** of the result, RFC 3339 */
      storedAt?: string;
      route?: string;
      worker?: string;
      flows?: number;
      rejects?: { [name: string]: number };
      verdicts?: { attack: number; benign: number; abstain: number; [name: string]: unknown };
      /** on the attacks among them */
      decisions?: { [name: string]: number };
      /** uids of the findings that it raised or changed */
      detections?: readonly string[];
      failed?: { code: string; message: string; [name: string]: unknown };
      [name: string]: unknown;
    };
  };
  /** Ends a stream of flows: closes its findings and forgets its windows. */
  'POST /v1/events/end': {
    path: undefined;
    query: { route?: string };
    headers: undefined;
    body: undefined;
    answer: { detections: readonly { [name: string]: unknown }[]; [name: string]: unknown };
  };
  /** Notes in the audit log what a run made of a source. */
  'POST /v1/extractions': {
    path: undefined;
    query: undefined;
    headers: undefined;
    body: {
      command: 'extract' | 'watch' | 'train' | 'evaluate';
      /** a path, an interface, an address or - */
      source: string;
      sourceKind: string;
      schema: string;
      packets: number;
      bytes: number;
      flows: number;
      /** flows that the schema refused */
      rejected: number;
      /** those, by code and column */
      rejects?: { [name: string]: number };
      malformed?: { [name: string]: number };
      /** limits that were hit */
      limits?: { [name: string]: number };
      /** what never arrived, by where it was lost */
      lost?: { [name: string]: number };
      /** false where the run was interrupted or failed */
      complete: boolean;
    };
    answer: { index: number; [name: string]: unknown };
  };
  /** Scores events given as named features. */
  'POST /v1/score/:name': {
    path: { name: string };
    query: undefined;
    headers: undefined;
    body: {
      /** named features, raw, as the schema says */
      events: readonly { [name: string]: unknown }[];
    };
    answer: {
      scores: readonly {
        probability: number;
        verdict: 'attack' | 'benign' | 'abstain';
        confidence: number;
        certificate: string;
        model: { name: string; version: string; digest: string; [name: string]: unknown };
        [name: string]: unknown;
      }[];
      [name: string]: unknown;
    };
  };
  /** Detections, newest first; `format` gives OCSF, EVE or CEF. */
  'GET /v1/detections': {
    path: undefined;
    query: {
      limit?: number;
      /** raised at this time or later: milliseconds since 1970, or RFC 3339 */
      since?: number | string;
      kind?: string;
      source?: string;
      format?: 'native' | 'ocsf' | 'eve' | 'cef';
    };
    headers: undefined;
    body: undefined;
    answer: { detections: readonly { [name: string]: unknown }[]; [name: string]: unknown };
  };
  /** New states of detections as server-sent events. */
  'GET /v1/detections/stream': {
    path: undefined;
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: string;
  };
  /** One detection, with what an analyst said of it. */
  'GET /v1/detections/:uid': {
    path: { uid: string };
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: { [name: string]: unknown };
  };
  /** Says what a detection was: an attack, a benign trigger, or nothing. Replaces an earlier verdict. */
  'POST /v1/detections/:uid/verdict': {
    path: { uid: string };
    query: undefined;
    headers: undefined;
    body: { verdict: 'true' | 'benign-trigger' | 'false'; note?: string };
    answer: {
      uid: string;
      verdict: 'true' | 'benign-trigger' | 'false';
      note: string;
      principal: string;
      time: number;
      kind: string;
      model: string;
    };
  };
  /** Every verdict with its detection, oldest first, a line each: labelled data. */
  'GET /v1/verdicts': {
    path: undefined;
    query: { format?: 'jsonl' };
    headers: undefined;
    body: undefined;
    answer: Uint8Array;
  };
  /** Precision by model, as the verdicts measure it, with exact 95 % intervals. */
  'GET /v1/accuracy': {
    path: undefined;
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: {
      models: readonly {
        model: string;
        judged: number;
        true: number;
        benignTrigger: number;
        false: number;
        precision: { value: number; low: number; high: number };
        sightPrecision: { value: number; low: number; high: number };
      }[];
    };
  };
  /** Rules that silence notices, and whether they are in force. */
  'GET /v1/suppressions': {
    path: undefined;
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: {
      rules: readonly {
        id: string;
        kind?: string;
        source?: string;
        destination?: string;
        untilMs: number;
        reason: string;
        principal: string;
        createdMs: number;
        active: boolean;
      }[];
    };
  };
  /** Silences notices of what fits every condition, until it expires. What it silences is stored. */
  'POST /v1/suppressions': {
    path: undefined;
    query: undefined;
    headers: undefined;
    body: {
      kind?: string;
      source?: string;
      destination?: string;
      /** until it expires */
      hours: number;
      reason: string;
    };
    answer: {
      id: string;
      kind?: string;
      source?: string;
      destination?: string;
      untilMs: number;
      reason: string;
      principal: string;
      createdMs: number;
    };
  };
  /** Ends such a rule. */
  'DELETE /v1/suppressions/:id': {
    path: { id: string };
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: {
      id: string;
      kind?: string;
      source?: string;
      destination?: string;
      untilMs: number;
      reason: string;
      principal: string;
      createdMs: number;
    };
  };
  /** What a host did lately as the source of flows, and what threat intelligence says of it. */
  'GET /v1/hosts/:address': {
    path: { address: string };
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: {
      address: string;
      state: 'present' | 'stale' | 'missing' | 'invalid';
      aggregate?: {
        flows: number;
        packets: number;
        bytesOut: number;
        bytesIn: number;
        [name: string]: unknown;
      };
      indicators?: {
        state: 'present' | 'stale' | 'missing' | 'invalid';
        labels: readonly string[];
        version: string;
        [name: string]: unknown;
      };
      [name: string]: unknown;
    };
  };
  /** Every published version. */
  'GET /v1/models': {
    path: undefined;
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: {
      models: readonly {
        name: string;
        version: string;
        digest: string;
        schemaId: string;
        gatesPassed: boolean;
        aliases: readonly string[];
        isInLog: boolean;
        [name: string]: unknown;
      }[];
      [name: string]: unknown;
    };
  };
  /** One version, verified: manifest, gate report, history. */
  'GET /v1/models/:name': {
    path: { name: string };
    query: { version?: string };
    headers: undefined;
    body: undefined;
    answer: {
      name: string;
      version: string;
      digest: string;
      schemaId: string;
      gatesPassed: boolean;
      aliases: readonly string[];
      isInLog: boolean;
      manifest: { [name: string]: unknown };
      gates: { [name: string]: unknown };
      [name: string]: unknown;
    };
  };
  /** Every move of the aliases, oldest first. */
  'GET /v1/models/:name/history': {
    path: { name: string };
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: {
      name: string;
      changes: readonly {
        name: string;
        alias: string;
        version: string;
        action: 'promote' | 'rollback';
        principal: string;
        intent: number;
        approvals: readonly string[];
        approvalsRequired: number;
        gates: 'submitter' | 'evaluator';
        [name: string]: unknown;
      }[];
      [name: string]: unknown;
    };
  };
  /** Verifies a stored version from its bytes. */
  'GET /v1/models/:name/verify': {
    path: { name: string };
    query: { version?: string };
    headers: undefined;
    body: undefined;
    answer: {
      name: string;
      version: string;
      digest: string;
      verified: true;
      steps: readonly string[];
      [name: string]: unknown;
    };
  };
  /** Publishes a trained model with its gate report. */
  'POST /v1/models/:name/versions': {
    path: { name: string };
    query: undefined;
    headers: undefined;
    body: {
      version?: string;
      model: string;
      schema: string;
      gateReport: { [name: string]: unknown };
      provenance: {
        dataDigest: string;
        sourceKinds: readonly string[];
        configuration: unknown;
        seed: number;
        trainer: string;
      };
    };
    answer: { name: string; version: string; digest: string; gatesPassed: boolean; [name: string]: unknown };
  };
  /** The five files of a signed version, in base64; the weights in the clear. */
  'GET /v1/models/:name/versions/:version/export': {
    path: { name: string; version: string };
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: { files: { [name: string]: string }; [name: string]: unknown };
  };
  /** Takes in an export of another registry that a trusted key or certificate signed; signed anew here. */
  'POST /v1/models/import': {
    path: undefined;
    query: undefined;
    headers: undefined;
    body: {
      /** its own name by default */
      name?: string;
      version?: string;
      /** the five files of an export */
      files: { [name: string]: string };
      /** PEM of the public keys that are trusted */
      keys?: readonly string[];
      /** PEM of the root certificates that are trusted, one each; a key or one of these is needed */
      certificates?: readonly string[];
    };
    answer: { name: string; version: string; digest: string; gatesPassed: boolean; [name: string]: unknown };
  };
  /** Records that the caller, who is not its author, approves a version. */
  'POST /v1/models/:name/approve': {
    path: { name: string };
    query: undefined;
    headers: undefined;
    body: { version: string };
    answer: {
      principal: string;
      time: string;
      digest: string;
      expiresAt: string;
      intent: number;
      [name: string]: unknown;
    };
  };
  /** The data that the gates of a model are run on at the door. */
  'GET /v1/models/:name/gate-data': {
    path: { name: string };
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: {
      name: string;
      gateData: {
        name: string;
        path: string;
        digest: string;
        schemaId: string;
        rows: number;
        [name: string]: unknown;
      } | null;
      [name: string]: unknown;
    };
  };
  /** Registers such data by path and digest. */
  'POST /v1/models/:name/gate-data': {
    path: { name: string };
    query: undefined;
    headers: undefined;
    body: {
      /** absolute, on this machine */
      path: string;
      /** labels of flows */
      labels?: string;
      /** the schema that the data are read by */
      schema: string;
    };
    answer: {
      name: string;
      path: string;
      digest: string;
      schemaId: string;
      rows: number;
      [name: string]: unknown;
    };
  };
  /** Certifies a version on the registered data: what its decisions may be trusted with. */
  'POST /v1/models/:name/certify': {
    path: { name: string };
    query: undefined;
    headers: undefined;
    body: {
      version: string;
      /** where the registered data are from */
      origin: 'lab' | 'public' | 'site';
      /** highest error rate of decisions, of block and of allow each */
      target: number;
      expiresDays?: number;
    };
    answer: {
      name: string;
      version: string;
      certificate: string;
      origin: string;
      expiresAt: string;
      claims: {
        block: {
          status: string;
          threshold: number;
          errors: number;
          accepted: number;
          coverage: number;
          bound: number;
          accuracy: number;
          [name: string]: unknown;
        };
        allow: {
          status: string;
          threshold: number;
          errors: number;
          accepted: number;
          coverage: number;
          bound: number;
          accuracy: number;
          [name: string]: unknown;
        };
      };
      intent: number;
      [name: string]: unknown;
    };
  };
  /** What an alias pointed at, at one time: who approved it, on what evidence, with proofs. */
  'GET /v1/models/:name/served': {
    path: { name: string };
    query: {
      /** milliseconds since 1970, or RFC 3339; now by default */
      at?: number | string;
      alias?: string;
    };
    headers: undefined;
    body: undefined;
    answer: {
      name: string;
      alias: string;
      at: string;
      change: {
        name: string;
        alias: string;
        version: string;
        action: 'promote' | 'rollback';
        principal: string;
        intent: number;
        approvals: readonly string[];
        approvalsRequired: number;
        gates: 'submitter' | 'evaluator';
        [name: string]: unknown;
      } | null;
      until: { [name: string]: unknown } | null;
      approvals: readonly {
        principal: string;
        time: string;
        digest: string;
        expiresAt: string;
        intent: number;
        [name: string]: unknown;
      }[];
      evidence: { [name: string]: unknown } | null;
      gateReport: { [name: string]: unknown } | null;
      proofs: readonly { about: string; index: number; proof: string; [name: string]: unknown }[];
      [name: string]: unknown;
    };
  };
  /** Points an alias at a version that is approved and passes its gates. */
  'POST /v1/models/:name/promote': {
    path: { name: string };
    query: undefined;
    headers: undefined;
    body: { version: string; alias?: string };
    answer: {
      name: string;
      alias: string;
      version: string;
      action: 'promote' | 'rollback';
      principal: string;
      intent: number;
      approvals: readonly string[];
      approvalsRequired: number;
      gates: 'submitter' | 'evaluator';
      [name: string]: unknown;
    };
  };
  /** Takes an alias back to the approved version before. */
  'POST /v1/models/:name/rollback': {
    path: { name: string };
    query: undefined;
    headers: undefined;
    body: { alias?: string };
    answer: {
      name: string;
      alias: string;
      version: string;
      action: 'promote' | 'rollback';
      principal: string;
      intent: number;
      approvals: readonly string[];
      approvalsRequired: number;
      gates: 'submitter' | 'evaluator';
      [name: string]: unknown;
    };
  };
  /** Where a version comes from and what it took the place of. */
  'GET /v1/models/:name/versions/:version/lineage': {
    path: { name: string; version: string };
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: {
      name: string;
      version: string;
      digest: string;
      data: { training: string; gates: string; schema: string; [name: string]: unknown };
      replaced: readonly { alias: string; version: string; intent: number; [name: string]: unknown }[];
      replacedBy: readonly { alias: string; version: string; intent: number; [name: string]: unknown }[];
      [name: string]: unknown;
    };
  };
  /** CycloneDX 1.6 ML-BOM of a version. */
  'GET /v1/models/:name/versions/:version/bom': {
    path: { name: string; version: string };
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: { bomFormat: 'CycloneDX'; specVersion: '1.6'; [name: string]: unknown };
  };
  /** Model card of a version, in Markdown. */
  'GET /v1/models/:name/versions/:version/card': {
    path: { name: string; version: string };
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: { markdown: string; [name: string]: unknown };
  };
  /** Sets tags of a version, or takes them away. */
  'POST /v1/models/:name/versions/:version/tags': {
    path: { name: string; version: string };
    query: undefined;
    headers: undefined;
    body: {
      /** values by name; null takes a tag away */
      tags: { [name: string]: string | null };
    };
    answer: { name: string; version: string; tags: { [name: string]: string }; [name: string]: unknown };
  };
  /** Holds a version: it is neither pruned nor erased. */
  'POST /v1/models/:name/versions/:version/holds': {
    path: { name: string; version: string };
    query: undefined;
    headers: undefined;
    body: {
      reason: string;
      /** RFC 3339; for good where left out */
      until?: string;
    };
    answer: { id: number; reason: string; principal: string; time: string; [name: string]: unknown };
  };
  /** Releases a hold. */
  'POST /v1/models/:name/versions/:version/holds/release': {
    path: { name: string; version: string };
    query: undefined;
    headers: undefined;
    body: { hold: number; reason: string };
    answer: { released: number; [name: string]: unknown };
  };
  /** Cryptographic erase: destroys every wrap of the data key. */
  'POST /v1/models/:name/versions/:version/erase': {
    path: { name: string; version: string };
    query: undefined;
    headers: undefined;
    body: { reason: string };
    answer: {
      name: string;
      version: string;
      state: 'pending' | 'complete';
      method: string;
      reason: string;
      principal: string;
      intent: number;
      [name: string]: unknown;
    };
  };
  /** Where an erase stands: complete only when the last escrowed wrap has expired. */
  'GET /v1/models/:name/versions/:version/erase': {
    path: { name: string; version: string };
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: {
      name: string;
      version: string;
      state: 'pending' | 'complete';
      method: string;
      reason: string;
      principal: string;
      intent: number;
      [name: string]: unknown;
    };
  };
  /** Removes the weights of versions that no retention rule keeps, or says which. */
  'POST /v1/models/:name/prune': {
    path: { name: string };
    query: undefined;
    headers: undefined;
    body: { keep?: number; keepDays?: number; dryRun?: boolean };
    answer: {
      name: string;
      dryRun: boolean;
      versions: readonly {
        version: string;
        goes: boolean;
        stays: readonly string[];
        [name: string]: unknown;
      }[];
      pruned: readonly string[];
      [name: string]: unknown;
    };
  };
  /** Copies the key wraps into escrow, to be run beside each backup. */
  'POST /v1/escrow': {
    path: undefined;
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: { escrowed: number; until: string; [name: string]: unknown };
  };
  /** Puts lost key wraps back from escrow, but never those of erased versions. */
  'POST /v1/escrow/restore': {
    path: undefined;
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: { restored: readonly string[]; [name: string]: unknown };
  };
  /** The version that runs beside the champion, or the last that did, compared with it. */
  'GET /v1/models/:name/rollout': {
    path: { name: string };
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: {
      name: string;
      kind: 'shadow' | 'canary';
      percent: number | null;
      startedBy: string;
      startedAt: string;
      endedAt: string | null;
      endedBecause: 'stopped' | 'candidate-failed' | 'champion-moved' | 'unloaded' | null;
      waitingRows: number;
      champion: {
        version: string;
        decidedRows: number;
        mirroredRows: number;
        errors: { [name: string]: number };
        latencyMs: { count: number; p50: number; p99: number; max: number; mean: number };
      };
      candidate: {
        version: string;
        decidedRows: number;
        mirroredRows: number;
        errors: { [name: string]: number };
        latencyMs: { count: number; p50: number; p99: number; max: number; mean: number };
      };
      comparedRows: number;
      agreement: {
        benign: { benign: number; attack: number; abstain: number };
        attack: { benign: number; attack: number; abstain: number };
        abstain: { benign: number; attack: number; abstain: number };
      };
      agreed: number | null;
      scorePsi: number | null;
      droppedRows: number;
    };
  };
  /** Shows a version what the champion answers, and compares; it never decides. */
  'POST /v1/models/:name/shadow': {
    path: { name: string };
    query: undefined;
    headers: undefined;
    body: { version: string };
    answer: {
      name: string;
      kind: 'shadow' | 'canary';
      percent: number | null;
      startedBy: string;
      startedAt: string;
      endedAt: string | null;
      endedBecause: 'stopped' | 'candidate-failed' | 'champion-moved' | 'unloaded' | null;
      waitingRows: number;
      champion: {
        version: string;
        decidedRows: number;
        mirroredRows: number;
        errors: { [name: string]: number };
        latencyMs: { count: number; p50: number; p99: number; max: number; mean: number };
      };
      candidate: {
        version: string;
        decidedRows: number;
        mirroredRows: number;
        errors: { [name: string]: number };
        latencyMs: { count: number; p50: number; p99: number; max: number; mean: number };
      };
      comparedRows: number;
      agreement: {
        benign: { benign: number; attack: number; abstain: number };
        attack: { benign: number; attack: number; abstain: number };
        abstain: { benign: number; attack: number; abstain: number };
      };
      agreed: number | null;
      scorePsi: number | null;
      droppedRows: number;
    };
  };
  /** Lets a version that may be promoted decide for a share of the sources. */
  'POST /v1/models/:name/canary': {
    path: { name: string };
    query: undefined;
    headers: undefined;
    body: { version: string; percent: number };
    answer: {
      rollout: {
        name: string;
        kind: 'shadow' | 'canary';
        percent: number | null;
        startedBy: string;
        startedAt: string;
        endedAt: string | null;
        endedBecause: 'stopped' | 'candidate-failed' | 'champion-moved' | 'unloaded' | null;
        waitingRows: number;
        champion: {
          version: string;
          decidedRows: number;
          mirroredRows: number;
          errors: { [name: string]: number };
          latencyMs: { count: number; p50: number; p99: number; max: number; mean: number };
        };
        candidate: {
          version: string;
          decidedRows: number;
          mirroredRows: number;
          errors: { [name: string]: number };
          latencyMs: { count: number; p50: number; p99: number; max: number; mean: number };
        };
        comparedRows: number;
        agreement: {
          benign: { benign: number; attack: number; abstain: number };
          attack: { benign: number; attack: number; abstain: number };
          abstain: { benign: number; attack: number; abstain: number };
        };
        agreed: number | null;
        scorePsi: number | null;
        droppedRows: number;
      };
      admission: {
        name: string;
        version: string;
        percent: number;
        intent: number;
        approvals: readonly string[];
        gates: 'submitter' | 'evaluator';
      };
    };
  };
  /** Ends what runs beside the champion, at once. */
  'POST /v1/models/:name/rollout/stop': {
    path: { name: string };
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: {
      name: string;
      kind: 'shadow' | 'canary';
      percent: number | null;
      startedBy: string;
      startedAt: string;
      endedAt: string | null;
      endedBecause: 'stopped' | 'candidate-failed' | 'champion-moved' | 'unloaded' | null;
      waitingRows: number;
      champion: {
        version: string;
        decidedRows: number;
        mirroredRows: number;
        errors: { [name: string]: number };
        latencyMs: { count: number; p50: number; p99: number; max: number; mean: number };
      };
      candidate: {
        version: string;
        decidedRows: number;
        mirroredRows: number;
        errors: { [name: string]: number };
        latencyMs: { count: number; p50: number; p99: number; max: number; mean: number };
      };
      comparedRows: number;
      agreement: {
        benign: { benign: number; attack: number; abstain: number };
        attack: { benign: number; attack: number; abstain: number };
        abstain: { benign: number; attack: number; abstain: number };
      };
      agreed: number | null;
      scorePsi: number | null;
      droppedRows: number;
    };
  };
  /** Signs the next metadata of the TUF repository of champions, and gives all its files in base64. */
  'POST /v1/updates/publish': {
    path: undefined;
    query: undefined;
    headers: undefined;
    body: {
      /** every model with a champion by default */
      models?: readonly string[];
      /** how long each kind of metadata is good for */
      expiryDays?: { root?: number; targets?: number; snapshot?: number; timestamp?: number };
    };
    answer: {
      versions: {
        root: number;
        targets: number;
        snapshot: number;
        timestamp: number;
        [name: string]: unknown;
      };
      models: readonly string[];
      metadata: readonly { name: string; bytes: string; [name: string]: unknown }[];
      targets: readonly { name: string; bytes: string; [name: string]: unknown }[];
      [name: string]: unknown;
    };
  };
  /** Takes in the models that another site offers by TUF, through the gates here. */
  'POST /v1/updates/pull': {
    path: undefined;
    query: undefined;
    headers: undefined;
    body: {
      url: string;
      /** root metadata in base64; needed at the first pull from a repository */
      root?: string;
      /** everything that is offered by default */
      models?: readonly string[];
    };
    answer: {
      url: string;
      versions: {
        root: number;
        targets: number;
        snapshot: number;
        timestamp: number;
        [name: string]: unknown;
      };
      models: readonly {
        name: string;
        version: string;
        digest: string;
        state: 'imported' | 'present';
        [name: string]: unknown;
      }[];
      [name: string]: unknown;
    };
  };
  /** Makes a key that seals a file, wrapped by the key store. */
  'POST /v1/training/keys': {
    path: undefined;
    query: undefined;
    headers: undefined;
    body: {
      purpose: 'data' | 'checkpoint';
      /** what is sealed: a file or a model in training */
      subject: string;
    };
    answer: {
      wraps: { [name: string]: unknown };
      /** 32 bytes in base64 */
      key: string;
    };
  };
  /** Opens such a key by its wraps. */
  'POST /v1/training/keys/open': {
    path: undefined;
    query: undefined;
    headers: undefined;
    body: {
      purpose: 'data' | 'checkpoint';
      /** what is sealed: a file or a model in training */
      subject: string;
      /** as the sealed file has them */
      wraps: {
        v: 1;
        dataKeyId: string;
        wraps: readonly { keyId: string; recipient: 'store' | 'recovery'; wrapped: string }[];
      };
    };
    answer: {
      /** 32 bytes in base64 */
      key: string;
    };
  };
  /** The last checkpoint of each model in training, by its number. */
  'GET /v1/training/checkpoints': {
    path: undefined;
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: { checkpoints: { [name: string]: { [name: string]: unknown } } };
  };
  /** Marks a checkpoint as the last: no older one is resumed from. */
  'POST /v1/training/checkpoints/:name': {
    path: { name: string };
    query: undefined;
    headers: undefined;
    body: { run: string; dataKeyId: string; counter: number };
    answer: { [name: string]: unknown };
  };
  /** Forgets a checkpoint: it is not resumed from any more. */
  'DELETE /v1/training/checkpoints/:name': {
    path: { name: string };
    query: { key?: string };
    headers: undefined;
    body: undefined;
    answer: { [name: string]: unknown };
  };
  /** The last trainings that told how they go, heard of last first. */
  'GET /v1/training/runs': {
    path: undefined;
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: {
      runs: readonly {
        id: string;
        model: string;
        state: 'running' | 'done' | 'failed';
        begunMs: number;
        heardMs: number;
        last?: {
          part: 'trees' | 'autoencoder';
          round: number;
          rounds: number;
          validationLoss?: number;
          trainingLoss?: number;
          rowsPerSecond: number | null;
          seconds: number;
          cpuSeconds: number;
          rssBytes: number;
          pauses: number;
          pausedMs: number;
          aggregation?: {
            workers: number;
            sums: number;
            bytesSent: number;
            bytesReceived: number;
            lost: number;
            late: number;
          };
        };
        [name: string]: unknown;
      }[];
    };
  };
  /** The course of a training: loss, throughput, CPU, memory, and what sums over workers took. */
  'GET /v1/training/runs/:run': {
    path: { run: string };
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: {
      id: string;
      model: string;
      state: 'running' | 'done' | 'failed';
      begunMs: number;
      heardMs: number;
      last?: {
        part: 'trees' | 'autoencoder';
        round: number;
        rounds: number;
        validationLoss?: number;
        trainingLoss?: number;
        rowsPerSecond: number | null;
        seconds: number;
        cpuSeconds: number;
        rssBytes: number;
        pauses: number;
        pausedMs: number;
        aggregation?: {
          workers: number;
          sums: number;
          bytesSent: number;
          bytesReceived: number;
          lost: number;
          late: number;
        };
      };
      points: readonly {
        part: 'trees' | 'autoencoder';
        round: number;
        rounds: number;
        validationLoss?: number;
        trainingLoss?: number;
        rowsPerSecond: number | null;
        seconds: number;
        cpuSeconds: number;
        rssBytes: number;
        pauses: number;
        pausedMs: number;
        aggregation?: {
          workers: number;
          sums: number;
          bytesSent: number;
          bytesReceived: number;
          lost: number;
          late: number;
        };
      }[];
      [name: string]: unknown;
    };
  };
  /** Tells how a training goes; `guardian train` does. */
  'POST /v1/training/runs/:run': {
    path: { run: string };
    query: undefined;
    headers: undefined;
    body: {
      model: string;
      state: 'running' | 'done' | 'failed';
      points: readonly {
        part: 'trees' | 'autoencoder';
        round: number;
        rounds: number;
        validationLoss?: number;
        trainingLoss?: number;
        rowsPerSecond: number | null;
        seconds: number;
        cpuSeconds: number;
        rssBytes: number;
        pauses: number;
        pausedMs: number;
        aggregation?: {
          workers: number;
          sums: number;
          bytesSent: number;
          bytesReceived: number;
          lost: number;
          late: number;
        };
      }[];
    };
    answer: { [name: string]: unknown };
  };
  /** The public part of the key by which this site speaks in secure trainings; makes it. */
  'POST /v1/training/identities': {
    path: undefined;
    query: undefined;
    headers: undefined;
    body: { role: 'member' | 'approver' };
    answer: { keyId: string; publicKeyPem: string; [name: string]: unknown };
  };
  /** Signs the roster of a secure training, as its approver. */
  'POST /v1/training/rosters': {
    path: undefined;
    query: undefined;
    headers: undefined;
    body: { roster: { [name: string]: unknown } };
    answer: { roster: { [name: string]: unknown }; signature: string };
  };
  /** Takes part in a secure training, as a member of a roster that the approver signed. */
  'POST /v1/training/memberships': {
    path: undefined;
    query: undefined;
    headers: undefined;
    body: {
      signed: { roster: { [name: string]: unknown }; signature: string };
      approver: { algorithm: 'ecdsa-p256' | 'ed25519'; publicKeyPem: string };
    };
    answer: { roster: string; member: string };
  };
  /** Signs a message of such a member. */
  'POST /v1/training/memberships/sign': {
    path: undefined;
    query: undefined;
    headers: undefined;
    body: { message: string };
    answer: { signature: string };
  };
  /** Entries of the audit log, oldest of the page first. */
  'GET /v1/audit': {
    path: undefined;
    query: {
      /** first index; the newest entries by default */
      from?: number;
      limit?: number;
    };
    headers: undefined;
    body: undefined;
    answer: {
      size: number;
      entries: readonly { index: number; entry: { [name: string]: unknown }; [name: string]: unknown }[];
      [name: string]: unknown;
    };
  };
  /** A signed checkpoint over every durable entry. */
  'GET /v1/audit/checkpoint': {
    path: undefined;
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: { origin: string; size: number; root: string; text: string; [name: string]: unknown };
  };
  /** An offline proof that an entry is in the log (C2SP tlog-proof). */
  'GET /v1/audit/proof/:index': {
    path: { index: number };
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: { index: number; proof: string; [name: string]: unknown };
  };
  /** Recomputes the whole log. */
  'GET /v1/audit/verify': {
    path: undefined;
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: { size: number; root: string; verified: true; [name: string]: unknown };
  };
  /** Recomputes the whole log, and compares it with a checkpoint kept elsewhere. */
  'POST /v1/audit/verify': {
    path: undefined;
    query: undefined;
    headers: undefined;
    body: {
      /** a checkpoint that was kept elsewhere */
      checkpoint?: string;
      /** verifier keys of witnesses */
      witnessKeys?: readonly string[];
      /** of those; all by default */
      cosignaturesWanted?: number;
    };
    answer: { size: number; root: string; verified: true; [name: string]: unknown };
  };
  /** A proof that the log of one size continues that of another (RFC 6962). */
  'GET /v1/audit/consistency': {
    path: undefined;
    query: { from: number; to: number };
    headers: undefined;
    body: undefined;
    answer: {
      from: number;
      to: number;
      fromRoot: string;
      toRoot: string;
      hashes: readonly string[];
      [name: string]: unknown;
    };
  };
  /** The last checkpoint, witnessed where there are witnesses (C2SP tlog-tiles). */
  'GET /checkpoint': {
    path: undefined;
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: string;
  };
  /** Hash tiles and entry bundles under their C2SP tlog-tiles paths: 0/000, entries/x001/067.p/12. */
  'GET /tile/*': {
    path: { '*': string };
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: Uint8Array;
  };
  /** Public parts of the keys. */
  'GET /v1/keys': {
    path: undefined;
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: {
      keys: readonly {
        id: string;
        purpose: string;
        algorithm: string;
        state: string;
        [name: string]: unknown;
      }[];
      [name: string]: unknown;
    };
  };
  /** Makes a new active key of a purpose; for wrapping every data key is wrapped anew. */
  'POST /v1/keys/rotate': {
    path: undefined;
    query: undefined;
    headers: undefined;
    body: {
      purpose:
        | 'model-signing'
        | 'evaluator-signing'
        | 'log-signing'
        | 'wrapping'
        | 'post-quantum-signing'
        | 'member-signing'
        | 'roster-signing';
      /** make no new key; finish wrapping anew */
      resume?: boolean;
    };
    answer: {
      purpose: string;
      key: { id: string; purpose: string; algorithm: string; state: string; [name: string]: unknown };
      rewrapped: number;
      [name: string]: unknown;
    };
  };
  /** Ends every use of a key for good. */
  'POST /v1/keys/:id/revoke': {
    path: { id: string };
    query: undefined;
    headers: undefined;
    body: {
      /** what was signed at this time or later does not verify either */
      from?: string;
    };
    answer: { id: string; purpose: string; algorithm: string; state: string; [name: string]: unknown };
  };
  /** API keys, without their secrets, and certificates, with their roles. */
  'GET /v1/access': {
    path: undefined;
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: {
      keys: readonly {
        id: string;
        label: string;
        roles: readonly string[];
        createdAt: string;
        expiresAt: string | null;
        revoked: boolean;
        [name: string]: unknown;
      }[];
      certificates: readonly {
        id: string;
        certificate: string;
        roles: readonly string[];
        createdAt: string;
        expiresAt: string | null;
        revoked: boolean;
        [name: string]: unknown;
      }[];
      [name: string]: unknown;
    };
  };
  /** Makes an API key and shows it once. */
  'POST /v1/access': {
    path: undefined;
    query: undefined;
    headers: undefined;
    body: {
      label: string;
      roles: readonly ('viewer' | 'submitter' | 'approver' | 'operator' | 'auditor' | 'admin')[];
      days?: number;
    };
    answer: { id: string; key: string; [name: string]: unknown };
  };
  /** Gives roles to client certificates of a name, or to the one of a fingerprint. */
  'POST /v1/access/certificates': {
    path: undefined;
    query: undefined;
    headers: undefined;
    body: {
      certificate: string;
      roles: readonly ('viewer' | 'submitter' | 'approver' | 'operator' | 'auditor' | 'admin')[];
      days?: number;
    };
    answer: { id: string; certificate: string; [name: string]: unknown };
  };
  /** Revokes an API key, or the roles of a certificate. */
  'DELETE /v1/access/:id': {
    path: { id: string };
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: { id: string; revoked: true; [name: string]: unknown };
  };
  /** The configuration in force, and where each value came from. */
  'GET /v1/config': {
    path: undefined;
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: {
      values: { [name: string]: unknown };
      origins: { [name: string]: string };
      [name: string]: unknown;
    };
  };
  /** The last refusals by code and route, oldest first. */
  'GET /v1/errors': {
    path: undefined;
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: {
      errors: readonly {
        timeMs: number;
        code: string;
        category: string;
        status: number;
        route: string;
        [name: string]: unknown;
      }[];
      [name: string]: unknown;
    };
  };
  /** Versions, loaded models, readings and counters. */
  'GET /v1/status': {
    path: undefined;
    query: undefined;
    headers: undefined;
    body: undefined;
    answer: {
      version: string;
      models: readonly { [name: string]: unknown }[];
      audit: { size: number; [name: string]: unknown };
      [name: string]: unknown;
    };
  };
}

/** Method and path of a route. */
export type RouteKey = keyof Routes;
