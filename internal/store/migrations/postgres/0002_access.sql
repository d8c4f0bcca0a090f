-- +goose Up

-- Roles and routes are JSON arrays of strings. Secrets are stored as hashes only.
CREATE TABLE access_key (
  id        TEXT COLLATE "C" PRIMARY KEY,
  name      TEXT COLLATE "C" NOT NULL,
  principal TEXT COLLATE "C" NOT NULL,
  roles     TEXT COLLATE "C" NOT NULL,
  routes    TEXT COLLATE "C" NOT NULL,
  hash      BYTEA NOT NULL,
  created   BIGINT NOT NULL,
  expires   BIGINT NOT NULL,
  revoked   BIGINT NOT NULL,
  demo      BIGINT NOT NULL
);

CREATE TABLE access_session (
  hash      BYTEA PRIMARY KEY,
  principal TEXT COLLATE "C" NOT NULL,
  roles     TEXT COLLATE "C" NOT NULL,
  key       TEXT COLLATE "C" NOT NULL,
  created   BIGINT NOT NULL,
  expires   BIGINT NOT NULL
);
CREATE INDEX access_session_expires ON access_session (expires);

CREATE TABLE access_link (
  hash      BYTEA PRIMARY KEY,
  principal TEXT COLLATE "C" NOT NULL,
  roles     TEXT COLLATE "C" NOT NULL,
  expires   BIGINT NOT NULL
);
