-- +goose Up

-- The audit log. Columns of audit_entry beside leaf are computed from it, so
-- there is nothing beside the hashed bytes that could disagree with them.
CREATE TABLE audit_entry (
  seq    INTEGER PRIMARY KEY,
  leaf   TEXT NOT NULL,
  actor  TEXT GENERATED ALWAYS AS (leaf ->> '$.actor.id') VIRTUAL,
  action TEXT GENERATED ALWAYS AS (leaf ->> '$.action') VIRTUAL,
  object TEXT GENERATED ALWAYS AS (leaf ->> '$.object') VIRTUAL
) STRICT;
CREATE INDEX audit_entry_object ON audit_entry (object, seq);
CREATE INDEX audit_entry_actor ON audit_entry (actor, seq);
CREATE INDEX audit_entry_action ON audit_entry (action, seq);

CREATE TABLE audit_hash (
  idx  INTEGER PRIMARY KEY,
  hash BLOB NOT NULL
) STRICT;

-- Deletable: erasing a row here leaves the log valid.
CREATE TABLE audit_payload (
  seq     INTEGER PRIMARY KEY,
  salt    BLOB NOT NULL,
  payload BLOB NOT NULL
) STRICT;

CREATE TABLE audit_checkpoint (
  size INTEGER PRIMARY KEY,
  note BLOB NOT NULL
) STRICT;

-- Times are nanoseconds since 1970 in UTC, 0 for never. Digests are 32 bytes.
CREATE TABLE counter (
  name  TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO counter (name, value) VALUES ('epoch', 0);

CREATE TABLE artifact (
  digest      BLOB PRIMARY KEY,
  files       INTEGER NOT NULL,
  size        INTEGER NOT NULL,
  created     INTEGER NOT NULL,
  demo        INTEGER NOT NULL,
  decided     TEXT NOT NULL,
  verdict     TEXT NOT NULL,
  complete    INTEGER NOT NULL,
  scanned     INTEGER NOT NULL,
  decision    BLOB NOT NULL,
  reason      TEXT NOT NULL,
  held_by     TEXT NOT NULL,
  held_reason TEXT NOT NULL,
  held_at     INTEGER NOT NULL,
  epoch       INTEGER NOT NULL,
  state       TEXT GENERATED ALWAYS AS (CASE WHEN held_by <> '' THEN 'quarantined' ELSE decided END) VIRTUAL
) STRICT;
CREATE INDEX artifact_epoch ON artifact (epoch);
CREATE INDEX artifact_state ON artifact (state);

CREATE TABLE manifest (
  artifact BLOB PRIMARY KEY,
  bytes    BLOB NOT NULL
) STRICT;

CREATE TABLE artifact_file (
  artifact BLOB NOT NULL,
  path     TEXT NOT NULL,
  file     BLOB NOT NULL,
  size     INTEGER NOT NULL,
  PRIMARY KEY (artifact, path)
) STRICT, WITHOUT ROWID;
CREATE INDEX artifact_file_file ON artifact_file (file, artifact);

CREATE TABLE model (
  name   TEXT PRIMARY KEY,
  folded TEXT NOT NULL UNIQUE,
  last   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE version (
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  model     TEXT NOT NULL,
  number    INTEGER NOT NULL,
  artifact  BLOB NOT NULL,
  pushed_by TEXT NOT NULL,
  created   INTEGER NOT NULL,
  demo      INTEGER NOT NULL,
  UNIQUE (model, number)
) STRICT;
CREATE INDEX version_artifact ON version (artifact);

CREATE TABLE scan (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  artifact BLOB NOT NULL,
  at       INTEGER NOT NULL,
  actor    TEXT NOT NULL,
  rule_set TEXT NOT NULL,
  verdict  INTEGER NOT NULL,
  complete INTEGER NOT NULL,
  statuses BLOB NOT NULL,
  report   BLOB NOT NULL
) STRICT;
CREATE INDEX scan_artifact ON scan (artifact, id);

-- The findings of the last scan of each artifact.
CREATE TABLE finding (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  artifact   BLOB NOT NULL,
  found      INTEGER NOT NULL,
  rule       TEXT NOT NULL,
  severity   INTEGER NOT NULL,
  subject    TEXT NOT NULL,
  path       TEXT NOT NULL,
  unit       TEXT NOT NULL,
  span_start INTEGER NOT NULL,
  span_end   INTEGER NOT NULL,
  message    TEXT NOT NULL,
  evidence   TEXT NOT NULL
) STRICT;
CREATE INDEX finding_artifact ON finding (artifact, severity DESC, id);
CREATE INDEX finding_severity ON finding (severity DESC, id);

CREATE TABLE finding_group (
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  rule      TEXT NOT NULL,
  subject   TEXT NOT NULL,
  severity  INTEGER NOT NULL,
  state     TEXT NOT NULL,
  note      TEXT NOT NULL,
  total     INTEGER NOT NULL,
  artifacts INTEGER NOT NULL,
  first     INTEGER NOT NULL,
  last      INTEGER NOT NULL,
  demo      INTEGER NOT NULL,
  UNIQUE (subject, rule)
) STRICT;
CREATE INDEX finding_group_order ON finding_group (severity DESC, last DESC, id DESC);

CREATE TABLE group_member (
  group_id INTEGER NOT NULL,
  artifact BLOB NOT NULL,
  total    INTEGER NOT NULL,
  severity INTEGER NOT NULL,
  last     INTEGER NOT NULL,
  PRIMARY KEY (group_id, artifact)
) STRICT, WITHOUT ROWID;
CREATE INDEX group_member_artifact ON group_member (artifact);

CREATE TABLE statement (
  payload        BLOB PRIMARY KEY,
  predicate_type TEXT NOT NULL,
  signer         TEXT NOT NULL,
  received       INTEGER NOT NULL,
  envelope       BLOB NOT NULL
) STRICT;

CREATE TABLE statement_subject (
  payload BLOB NOT NULL,
  place   INTEGER NOT NULL,
  subject BLOB NOT NULL,
  PRIMARY KEY (payload, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX statement_subject_subject ON statement_subject (subject, payload);

CREATE TABLE decision (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  digest   BLOB NOT NULL UNIQUE,
  artifact BLOB NOT NULL,
  action   TEXT NOT NULL,
  at       INTEGER NOT NULL,
  effect   TEXT NOT NULL,
  policy   TEXT NOT NULL,
  because  BLOB NOT NULL,
  reason   TEXT NOT NULL,
  request  BLOB NOT NULL,
  facts    BLOB NOT NULL,
  record   BLOB NOT NULL
) STRICT;
CREATE INDEX decision_artifact ON decision (artifact, id);

CREATE TABLE edge (
  from_ref TEXT NOT NULL,
  to_ref   TEXT NOT NULL,
  kind     TEXT NOT NULL,
  evidence TEXT NOT NULL,
  tier     INTEGER NOT NULL,
  created  INTEGER NOT NULL,
  demo     INTEGER NOT NULL,
  PRIMARY KEY (from_ref, to_ref, kind, evidence)
) STRICT, WITHOUT ROWID;
CREATE INDEX edge_to ON edge (to_ref, tier, from_ref);

CREATE TABLE retrieval (
  artifact  BLOB NOT NULL,
  principal TEXT NOT NULL,
  total     INTEGER NOT NULL,
  first     INTEGER NOT NULL,
  last      INTEGER NOT NULL,
  PRIMARY KEY (artifact, principal)
) STRICT, WITHOUT ROWID;
CREATE INDEX retrieval_principal ON retrieval (principal, last DESC);

CREATE TABLE scan_wanted (
  artifact BLOB PRIMARY KEY,
  class    TEXT NOT NULL,
  since    INTEGER NOT NULL,
  why      TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX scan_wanted_since ON scan_wanted (since);
