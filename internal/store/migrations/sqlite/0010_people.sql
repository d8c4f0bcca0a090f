-- +goose Up

-- Actions are a JSON array of strings. Owner made the key and answers for it.
ALTER TABLE access_key ADD COLUMN actions TEXT NOT NULL DEFAULT '[]';
ALTER TABLE access_key ADD COLUMN owner TEXT NOT NULL DEFAULT '';
ALTER TABLE access_key ADD COLUMN used INTEGER NOT NULL DEFAULT 0;

CREATE TABLE access_user (
  id       TEXT PRIMARY KEY,
  name     TEXT NOT NULL,
  mail     TEXT NOT NULL,
  person   TEXT NOT NULL,
  disabled INTEGER NOT NULL,
  created  INTEGER NOT NULL,
  seen     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE access_group (
  name    TEXT PRIMARY KEY,
  note    TEXT NOT NULL,
  created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE access_member (
  team      TEXT NOT NULL,
  principal TEXT NOT NULL,
  PRIMARY KEY (team, principal)
) STRICT, WITHOUT ROWID;
CREATE INDEX access_member_principal ON access_member (principal, team);

-- Holder is a principal, or group: and the name of a group. Role is the text of
-- a grant: engineer, or engineer@namespace.
CREATE TABLE access_grant (
  holder TEXT NOT NULL,
  role   TEXT NOT NULL,
  PRIMARY KEY (holder, role)
) STRICT, WITHOUT ROWID;

-- Identities at providers.
CREATE TABLE access_login (
  issuer  TEXT NOT NULL,
  subject TEXT NOT NULL,
  holder  TEXT NOT NULL,
  created INTEGER NOT NULL,
  PRIMARY KEY (issuer, subject)
) STRICT, WITHOUT ROWID;

-- Tokens that were used and must not be used again.
CREATE TABLE access_spent (
  hash  BLOB PRIMARY KEY,
  until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
