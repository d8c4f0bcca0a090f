-- +goose Up

-- The register of assets: what machines saw and people said, as JSON; only what
-- selects rows has columns.
CREATE TABLE register_asset (
  id   TEXT PRIMARY KEY,
  demo BIGINT NOT NULL,
  body TEXT NOT NULL
);

-- Inventories, the last of each source, with their findings.
CREATE TABLE register_source (
  name     TEXT PRIMARY KEY,
  demo     BIGINT NOT NULL,
  body     TEXT NOT NULL,
  findings TEXT NOT NULL
);

-- Groups of findings over everything, and their life.
CREATE TABLE register_group (
  id   TEXT PRIMARY KEY,
  demo BIGINT NOT NULL,
  body TEXT NOT NULL
);

-- Rules that give assets owners: one row.
CREATE TABLE register_owners (
  id   BIGINT PRIMARY KEY,
  body TEXT NOT NULL
);

-- Counts changes of all of them.
INSERT INTO counter (name, value) VALUES ('register', 0);
