-- +goose Up

-- Servers of others that sign checkpoints, each with the newest that it signed.
CREATE TABLE audit_witness (
  name  TEXT COLLATE "C" PRIMARY KEY,
  url   TEXT COLLATE "C" NOT NULL,
  key   TEXT COLLATE "C" NOT NULL,
  added BIGINT NOT NULL,
  size  BIGINT NOT NULL,
  at    BIGINT NOT NULL,
  note  BYTEA NOT NULL
);
