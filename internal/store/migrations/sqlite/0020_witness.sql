-- +goose Up

-- Servers of others that sign checkpoints, each with the newest that it signed.
CREATE TABLE audit_witness (
  name  TEXT PRIMARY KEY,
  url   TEXT NOT NULL,
  key   TEXT NOT NULL,
  added INTEGER NOT NULL,
  size  INTEGER NOT NULL,
  at    INTEGER NOT NULL,
  note  BLOB NOT NULL
) STRICT;
