-- +goose Up

-- What exchanges said, encrypted, of routes that keep it.
CREATE TABLE traffic_content (
  request TEXT PRIMARY KEY,
  route   TEXT NOT NULL,
  at      BIGINT NOT NULL,
  until   BIGINT NOT NULL,
  box     BYTEA NOT NULL
);
CREATE INDEX traffic_content_until ON traffic_content (until);
