-- +goose Up

-- What exchanges said, encrypted, of routes that keep it.
CREATE TABLE traffic_content (
  request TEXT PRIMARY KEY,
  route   TEXT NOT NULL,
  at      INTEGER NOT NULL,
  until   INTEGER NOT NULL,
  box     BLOB NOT NULL
) STRICT;
CREATE INDEX traffic_content_until ON traffic_content (until);
