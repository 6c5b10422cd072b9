import type { Generated, Kysely, Transaction } from 'kysely';

/** The tables as both databases have them. Times are milliseconds since 1970 UTC; columns in `_at` are RFC 3339 text. */
export interface Tables {
  versions: {
    name: string;
    version: string;
    digest: string;
    schema_id: string;
    /** JSON, like every column of lists and objects: the same text on both databases. */
    source_kinds: string;
    /** 0 or 1. */
    gates_passed: number;
    data_key_id: string;
    intent: number;
    created_at: string;
    author: string;
  };
  alias_history: {
    intent: number;
    name: string;
    alias: string;
    version: string;
    previous: string | null;
    action: string;
    principal: string;
    changed_at: string;
    approvals: string;
  };
  aliases: { name: string; alias: string; version: string; intent: number };
  detections: {
    uid: string;
    time: number;
    last_seen: number;
    kind: string;
    source: string;
    body: string;
  };
  outbox: { sequence: Generated<number>; uid: string; activity: string; body: string };
  access_keys: {
    id: string;
    sha256: string;
    principal: string;
    roles: string;
    created: number;
    expires: number | null;
    revoked: number | null;
  };
  settings: { key: string; value: string };
  verdicts: {
    uid: string;
    verdict: string;
    note: string;
    principal: string;
    time: number;
    kind: string;
    model: string;
  };
  suppressions: {
    id: string;
    kind: string | null;
    source: string | null;
    destination: string | null;
    until: number;
    reason: string;
    principal: string;
    created: number;
  };
  event_results: { id: string; time: number; body: string };
}

export type Queries = Kysely<Tables>;
export type Writing = Transaction<Tables>;
