-- +goose Up

-- The register of assets: what machines saw and people said, as JSON; only what
-- selects rows has columns.
CREATE TABLE register_asset (
  id   TEXT PRIMARY KEY,
  demo INTEGER NOT NULL,
  body TEXT NOT NULL
) STRICT;

-- Inventories, the last of each source, with their findings.
CREATE TABLE register_source (
  name     TEXT PRIMARY KEY,
  demo     INTEGER NOT NULL,
  body     TEXT NOT NULL,
  findings TEXT NOT NULL
) STRICT;

-- Groups of findings over everything, and their life.
CREATE TABLE register_group (
  id   TEXT PRIMARY KEY,
  demo INTEGER NOT NULL,
  body TEXT NOT NULL
) STRICT;

-- Rules that give assets owners: one row.
CREATE TABLE register_owners (
  id   INTEGER PRIMARY KEY,
  body TEXT NOT NULL
) STRICT;

-- Counts changes of all of them.
INSERT INTO counter (name, value) VALUES ('register', 0);
