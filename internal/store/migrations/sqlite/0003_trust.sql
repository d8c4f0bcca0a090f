-- +goose Up

-- A statement is named by its payload and its signer: two signers may sign the
-- same payload. What this server signed is named by the payload alone.
ALTER TABLE statement RENAME COLUMN payload TO id;
ALTER TABLE statement ADD COLUMN payload BLOB NOT NULL DEFAULT x'';
ALTER TABLE statement ADD COLUMN attached_by TEXT NOT NULL DEFAULT '';
UPDATE statement SET payload = id;
CREATE INDEX statement_attached ON statement (attached_by);
ALTER TABLE statement_subject RENAME COLUMN payload TO statement;

-- Facts and policy texts, named by their digests. Never deleted while a decision
-- refers to them.
CREATE TABLE content (
  digest BLOB PRIMARY KEY,
  bytes  BLOB NOT NULL
) STRICT;

ALTER TABLE decision ADD COLUMN facts_digest BLOB NOT NULL DEFAULT x'';
ALTER TABLE decision ADD COLUMN trust INTEGER NOT NULL DEFAULT 0;
ALTER TABLE decision ADD COLUMN engine TEXT NOT NULL DEFAULT '';
ALTER TABLE decision ADD COLUMN envelope BLOB NOT NULL DEFAULT x'';

-- Every version holds the whole list as JSON: a past decision finds what held then.
CREATE TABLE trust_version (
  version INTEGER PRIMARY KEY,
  at      INTEGER NOT NULL,
  actor   TEXT NOT NULL,
  action  TEXT NOT NULL,
  entry   TEXT NOT NULL,
  entries BLOB NOT NULL
) STRICT;

CREATE TABLE policy_version (
  version     INTEGER PRIMARY KEY,
  name        TEXT NOT NULL,
  digest      BLOB NOT NULL,
  state       TEXT NOT NULL,
  reason      TEXT NOT NULL,
  proposed_by TEXT NOT NULL,
  proposed_at INTEGER NOT NULL,
  decided_by  TEXT NOT NULL,
  decided_at  INTEGER NOT NULL
) STRICT;

-- The history of stages. The last row of a version says where it is.
CREATE TABLE stage_change (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  model    TEXT NOT NULL,
  number   INTEGER NOT NULL,
  artifact BLOB NOT NULL,
  before   TEXT NOT NULL,
  after    TEXT NOT NULL,
  at       INTEGER NOT NULL,
  actor    TEXT NOT NULL,
  reason   TEXT NOT NULL,
  decision BLOB NOT NULL
) STRICT;
CREATE INDEX stage_change_version ON stage_change (model, number, id);
CREATE INDEX stage_change_artifact ON stage_change (artifact, id);

INSERT INTO counter (name, value) VALUES ('judged_trust', 0), ('judged_policy', 0);
