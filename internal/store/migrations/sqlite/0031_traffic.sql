-- +goose Up

-- Records of exchanges at the gateways, in batches that one entry of the audit
-- log proves.
CREATE TABLE traffic_batch (
  entry   INTEGER PRIMARY KEY,
  replica TEXT NOT NULL,
  first   INTEGER NOT NULL,
  count   INTEGER NOT NULL,
  began   INTEGER NOT NULL,
  ended   INTEGER NOT NULL,
  root    BLOB NOT NULL,
  packed  BLOB NOT NULL
) STRICT;
CREATE INDEX traffic_batch_ended ON traffic_batch (ended);

-- What callers used, by hour.
CREATE TABLE traffic_use (
  hour      INTEGER NOT NULL,
  route     TEXT NOT NULL,
  principal TEXT NOT NULL,
  key       TEXT NOT NULL,
  team      TEXT NOT NULL,
  model     TEXT NOT NULL,
  requests  INTEGER NOT NULL,
  refused   INTEGER NOT NULL,
  denied    INTEGER NOT NULL,
  input     INTEGER NOT NULL,
  output    INTEGER NOT NULL,
  inputs    INTEGER NOT NULL,
  cost      INTEGER NOT NULL,
  errors    INTEGER NOT NULL,
  took      INTEGER NOT NULL,
  PRIMARY KEY (hour, route, principal, key, team, model)
) STRICT;
