-- +goose Up

-- What people see of scans that are wanted, run or ended. What is to be done is
-- in scan_wanted only.
CREATE TABLE job (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  artifact   BLOB NOT NULL UNIQUE,
  class      TEXT NOT NULL,
  why        TEXT NOT NULL,
  state      TEXT NOT NULL,
  attempts   INTEGER NOT NULL,
  files_done INTEGER NOT NULL,
  files      INTEGER NOT NULL,
  bytes_done INTEGER NOT NULL,
  bytes      INTEGER NOT NULL,
  problem    TEXT NOT NULL,
  wanted     INTEGER NOT NULL,
  started    INTEGER NOT NULL,
  changed    INTEGER NOT NULL
) STRICT;
CREATE INDEX job_changed ON job (changed DESC, id DESC);
CREATE INDEX job_state ON job (state, changed DESC, id DESC);
INSERT INTO job (artifact, class, why, state, attempts, files_done, files, bytes_done, bytes, problem, wanted, started, changed)
  SELECT w.artifact, w.class, w.why, 'waiting', 0, 0, a.files, 0, a.size, '', w.since, 0, w.since FROM scan_wanted w JOIN artifact a ON a.digest = w.artifact;
