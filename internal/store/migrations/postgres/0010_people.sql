-- +goose Up

-- Actions are a JSON array of strings. Owner made the key and answers for it.
ALTER TABLE access_key ADD COLUMN actions TEXT COLLATE "C" NOT NULL DEFAULT '[]';
ALTER TABLE access_key ADD COLUMN owner TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE access_key ADD COLUMN used BIGINT NOT NULL DEFAULT 0;

CREATE TABLE access_user (
  id       TEXT COLLATE "C" PRIMARY KEY,
  name     TEXT COLLATE "C" NOT NULL,
  mail     TEXT COLLATE "C" NOT NULL,
  person   TEXT COLLATE "C" NOT NULL,
  disabled BIGINT NOT NULL,
  created  BIGINT NOT NULL,
  seen     BIGINT NOT NULL
);

CREATE TABLE access_group (
  name    TEXT COLLATE "C" PRIMARY KEY,
  note    TEXT COLLATE "C" NOT NULL,
  created BIGINT NOT NULL
);

CREATE TABLE access_member (
  team      TEXT COLLATE "C" NOT NULL,
  principal TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (team, principal)
);
CREATE INDEX access_member_principal ON access_member (principal, team);

-- Holder is a principal, or group: and the name of a group. Role is the text of
-- a grant: engineer, or engineer@namespace.
CREATE TABLE access_grant (
  holder TEXT COLLATE "C" NOT NULL,
  role   TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (holder, role)
);

-- Identities at providers.
CREATE TABLE access_login (
  issuer  TEXT COLLATE "C" NOT NULL,
  subject TEXT COLLATE "C" NOT NULL,
  holder  TEXT COLLATE "C" NOT NULL,
  created BIGINT NOT NULL,
  PRIMARY KEY (issuer, subject)
);

-- Tokens that were used and must not be used again.
CREATE TABLE access_spent (
  hash  BYTEA PRIMARY KEY,
  until BIGINT NOT NULL
);
