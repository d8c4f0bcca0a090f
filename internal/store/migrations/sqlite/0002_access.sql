-- +goose Up

-- Roles and routes are JSON arrays of strings. Secrets are stored as hashes only.
CREATE TABLE access_key (
  id        TEXT PRIMARY KEY,
  name      TEXT NOT NULL,
  principal TEXT NOT NULL,
  roles     TEXT NOT NULL,
  routes    TEXT NOT NULL,
  hash      BLOB NOT NULL,
  created   INTEGER NOT NULL,
  expires   INTEGER NOT NULL,
  revoked   INTEGER NOT NULL,
  demo      INTEGER NOT NULL
) STRICT;

CREATE TABLE access_session (
  hash      BLOB PRIMARY KEY,
  principal TEXT NOT NULL,
  roles     TEXT NOT NULL,
  key       TEXT NOT NULL,
  created   INTEGER NOT NULL,
  expires   INTEGER NOT NULL
) STRICT;
CREATE INDEX access_session_expires ON access_session (expires);

CREATE TABLE access_link (
  hash      BLOB PRIMARY KEY,
  principal TEXT NOT NULL,
  roles     TEXT NOT NULL,
  expires   INTEGER NOT NULL
) STRICT;
