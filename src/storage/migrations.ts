import { StorageError } from './errors.ts';

export type DatabaseKind = 'sqlite' | 'postgres';

interface Migration {
  /** What it brings. */
  readonly about: string;
  readonly up: Readonly<Record<DatabaseKind, string>>;
  readonly down: Readonly<Record<DatabaseKind, string>>;
  /** Tables whose rows the way back would lose; it is refused while there are any. */
  readonly empty: readonly string[];
}

/** One migration in one direction. */
export interface MigrationStep {
  readonly sql: string;
  /** What the database is at afterwards. */
  readonly format: number;
  readonly empty: readonly string[];
  refusal(table: string): StorageError;
}

/**
 * Numbered from 1 by position; each runs once, in its own transaction, and the database counts them. A published one is
 * never edited: the next change is a new one at the end. Times are milliseconds since 1970 UTC unless a column's name
 * ends in `_at`, which is RFC 3339 text. Text is ordered by its bytes on both databases.
 */
export const MIGRATIONS: readonly Migration[] = [
  {
    about: 'versions, aliases, detections, access keys and settings',
    up: {
      sqlite: `
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
      postgres: `
  CREATE TABLE versions (
    name TEXT COLLATE "C" NOT NULL,
    version TEXT COLLATE "C" NOT NULL,
    digest TEXT NOT NULL,
    schema_id TEXT NOT NULL,
    source_kinds TEXT NOT NULL,
    gates_passed INTEGER NOT NULL CHECK (gates_passed IN (0, 1)),
    data_key_id TEXT NOT NULL UNIQUE,
    intent BIGINT NOT NULL UNIQUE,
    created_at TEXT NOT NULL,
    author TEXT NOT NULL,
    PRIMARY KEY (name, version)
  );

  CREATE TABLE alias_history (
    intent BIGINT NOT NULL PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    alias TEXT COLLATE "C" NOT NULL,
    version TEXT COLLATE "C" NOT NULL,
    previous TEXT COLLATE "C",
    action TEXT NOT NULL CHECK (action IN ('promote', 'rollback')),
    principal TEXT COLLATE "C" NOT NULL,
    changed_at TEXT NOT NULL,
    approvals TEXT NOT NULL,
    FOREIGN KEY (name, version) REFERENCES versions (name, version)
  );
  CREATE INDEX alias_history_by_name ON alias_history (name, alias, intent);

  CREATE TABLE aliases (
    name TEXT COLLATE "C" NOT NULL,
    alias TEXT COLLATE "C" NOT NULL,
    version TEXT COLLATE "C" NOT NULL,
    intent BIGINT NOT NULL,
    PRIMARY KEY (name, alias),
    FOREIGN KEY (name, version) REFERENCES versions (name, version),
    FOREIGN KEY (intent) REFERENCES alias_history (intent)
  );

  CREATE TABLE detections (
    uid TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    time BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    source TEXT COLLATE "C" NOT NULL,
    body TEXT NOT NULL
  );
  CREATE INDEX detections_by_time ON detections (time, uid);
  CREATE INDEX detections_by_kind ON detections (kind, time);
  CREATE INDEX detections_by_source ON detections (source, time);

  CREATE TABLE outbox (
    sequence BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uid TEXT COLLATE "C" NOT NULL,
    activity TEXT COLLATE "C" NOT NULL CHECK (activity IN ('create', 'update', 'close')),
    body TEXT NOT NULL,
    UNIQUE (uid, activity)
  );

  CREATE TABLE access_keys (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    sha256 TEXT NOT NULL,
    principal TEXT COLLATE "C" NOT NULL,
    roles TEXT NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT,
    revoked BIGINT
  );

  CREATE TABLE settings (
    key TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
  );
  `,
    },
    down: {
      sqlite: dropAll(),
      postgres: dropAll(),
    },
    empty: tablesOfFormat1(),
  },
  {
    about: 'access keys are found by their principal',
    up: both('CREATE INDEX access_keys_by_principal ON access_keys (principal, created, id)'),
    down: both('DROP INDEX access_keys_by_principal'),
    empty: [],
  },
  {
    about: 'the one writer of several servers; a SQLite file has its owner',
    up: {
      sqlite: '',
      postgres: `
  CREATE TABLE IF NOT EXISTS writer_lease (
    one BOOLEAN NOT NULL PRIMARY KEY DEFAULT TRUE CHECK (one),
    holder TEXT NOT NULL,
    token BIGINT NOT NULL,
    expires TIMESTAMPTZ NOT NULL
  );
  INSERT INTO writer_lease (holder, token, expires) VALUES ('', 0, '-infinity')
    ON CONFLICT DO NOTHING;
  `,
    },
    // The token must never fall, so the table stays, and takes no part in what goes back.
    down: { sqlite: '', postgres: '' },
    empty: [],
  },
  {
    about: 'what analysts said of detections, and rules that silence notices',
    up: {
      sqlite: `
  CREATE TABLE verdicts (
    uid TEXT NOT NULL PRIMARY KEY,
    verdict TEXT NOT NULL CHECK (verdict IN ('true', 'benign-trigger', 'false')),
    note TEXT NOT NULL,
    principal TEXT NOT NULL,
    time INTEGER NOT NULL,
    kind TEXT NOT NULL,
    model TEXT NOT NULL
  ) STRICT;
  CREATE INDEX verdicts_by_time ON verdicts (time, uid);

  CREATE TABLE suppressions (
    id TEXT NOT NULL PRIMARY KEY,
    kind TEXT,
    source TEXT,
    destination TEXT,
    until INTEGER NOT NULL,
    reason TEXT NOT NULL,
    principal TEXT NOT NULL,
    created INTEGER NOT NULL
  ) STRICT;
  `,
      postgres: `
  CREATE TABLE verdicts (
    uid TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    verdict TEXT NOT NULL CHECK (verdict IN ('true', 'benign-trigger', 'false')),
    note TEXT NOT NULL,
    principal TEXT COLLATE "C" NOT NULL,
    time BIGINT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    model TEXT COLLATE "C" NOT NULL
  );
  CREATE INDEX verdicts_by_time ON verdicts (time, uid);

  CREATE TABLE suppressions (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    kind TEXT COLLATE "C",
    source TEXT COLLATE "C",
    destination TEXT COLLATE "C",
    until BIGINT NOT NULL,
    reason TEXT NOT NULL,
    principal TEXT COLLATE "C" NOT NULL,
    created BIGINT NOT NULL
  );
  `,
    },
    down: both('DROP TABLE verdicts; DROP TABLE suppressions;'),
    empty: ['verdicts', 'suppressions'],
  },
  {
    about: 'what queued events came to',
    up: {
      sqlite: `
  CREATE TABLE event_results (
    id TEXT NOT NULL PRIMARY KEY,
    time INTEGER NOT NULL,
    body TEXT NOT NULL
  ) STRICT;
  CREATE INDEX event_results_by_time ON event_results (time);
  `,
      postgres: `
  CREATE TABLE event_results (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    time BIGINT NOT NULL,
    body TEXT NOT NULL
  );
  CREATE INDEX event_results_by_time ON event_results (time);
  `,
    },
    down: both('DROP TABLE event_results;'),
    empty: ['event_results'],
  },
];

/**
 * The steps from one format to another. Throws `storage.database-newer` where the database has migrations that this
 * version does not know.
 */
export function migrationSteps(from: number, to: number, kind: DatabaseKind): readonly MigrationStep[] {
  if (from > MIGRATIONS.length) {
    throw new StorageError(
      'storage.database-newer',
      `expected at most format ${MIGRATIONS.length}, the database has ${from}`,
    );
  }
  const refusal = (table: string) =>
    new StorageError('storage.migration-loses-rows', `the way back would drop the rows of ${table}`);
  if (to >= from) {
    return MIGRATIONS.slice(from, to).map(({ up }, i) => ({
      ...{ sql: up[kind], format: from + i + 1, refusal },
      empty: [],
    }));
  }
  return MIGRATIONS.slice(to, from)
    .map(({ down, empty }, i) => ({ sql: down[kind], format: to + i, empty, refusal }))
    .reverse();
}

function both(sql: string): Record<DatabaseKind, string> {
  return { sqlite: sql, postgres: sql };
}

/** Those that point to others first. */
function tablesOfFormat1(): readonly string[] {
  return ['aliases', 'alias_history', 'versions', 'detections', 'outbox', 'access_keys', 'settings'];
}

function dropAll(): string {
  return tablesOfFormat1()
    .map((table) => `DROP TABLE ${table};`)
    .join(' ');
}
