/**
 * Numbered from 1 by position; each runs once, in its own transaction, and `PRAGMA user_version` counts them.
 * A published one is never edited: the next change is a new one at the end. Times are milliseconds since 1970 UTC
 * unless a column's name ends in `_at`, which is RFC 3339 text.
 */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE versions (
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    digest TEXT NOT NULL,
    schema_id TEXT NOT NULL,
    source_kinds TEXT NOT NULL,
    gates_passed INTEGER NOT NULL CHECK (gates_passed IN (0, 1)),
    data_key_id TEXT NOT NULL UNIQUE,
    intent INTEGER NOT NULL UNIQUE,
    created_at TEXT NOT NULL,
    author TEXT NOT NULL,
    PRIMARY KEY (name, version)
  ) STRICT;

  CREATE TABLE alias_history (
    intent INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    alias TEXT NOT NULL,
    version TEXT NOT NULL,
    previous TEXT,
    action TEXT NOT NULL CHECK (action IN ('promote', 'rollback')),
    principal TEXT NOT NULL,
    changed_at TEXT NOT NULL,
    approvals TEXT NOT NULL,
    FOREIGN KEY (name, version) REFERENCES versions (name, version)
  ) STRICT;
  CREATE INDEX alias_history_by_name ON alias_history (name, alias, intent);

  CREATE TABLE aliases (
    name TEXT NOT NULL,
    alias TEXT NOT NULL,
    version TEXT NOT NULL,
    intent INTEGER NOT NULL,
    PRIMARY KEY (name, alias),
    FOREIGN KEY (name, version) REFERENCES versions (name, version),
    FOREIGN KEY (intent) REFERENCES alias_history (intent)
  ) STRICT;

  CREATE TABLE detections (
    uid TEXT NOT NULL PRIMARY KEY,
    time INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    kind TEXT NOT NULL,
    source TEXT NOT NULL,
    body TEXT NOT NULL
  ) STRICT;
  CREATE INDEX detections_by_time ON detections (time, uid);
  CREATE INDEX detections_by_kind ON detections (kind, time);
  CREATE INDEX detections_by_source ON detections (source, time);

  CREATE TABLE outbox (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    uid TEXT NOT NULL,
    activity TEXT NOT NULL CHECK (activity IN ('create', 'update', 'close')),
    body TEXT NOT NULL,
    UNIQUE (uid, activity)
  ) STRICT;

  CREATE TABLE access_keys (
    id TEXT NOT NULL PRIMARY KEY,
    sha256 TEXT NOT NULL,
    principal TEXT NOT NULL,
    roles TEXT NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER,
    revoked INTEGER
  ) STRICT;

  CREATE TABLE settings (
    key TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
  ) STRICT;
  `,
];
