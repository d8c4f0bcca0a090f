-- +goose Up

-- Records of exchanges at the gateways, in batches that one entry of the audit
-- log proves.
CREATE TABLE traffic_batch (
  entry   BIGINT PRIMARY KEY,
  replica TEXT NOT NULL,
  first   BIGINT NOT NULL,
  count   BIGINT NOT NULL,
  began   BIGINT NOT NULL,
  ended   BIGINT NOT NULL,
  root    BYTEA NOT NULL,
  packed  BYTEA NOT NULL
);
CREATE INDEX traffic_batch_ended ON traffic_batch (ended);

-- What callers used, by hour.
CREATE TABLE traffic_use (
  hour      BIGINT NOT NULL,
  route     TEXT NOT NULL,
  principal TEXT NOT NULL,
  key       TEXT NOT NULL,
  team      TEXT NOT NULL,
  model     TEXT NOT NULL,
  requests  BIGINT NOT NULL,
  refused   BIGINT NOT NULL,
  denied    BIGINT NOT NULL,
  input     BIGINT NOT NULL,
  output    BIGINT NOT NULL,
  inputs    BIGINT NOT NULL,
  cost      BIGINT NOT NULL,
  errors    BIGINT NOT NULL,
  took      BIGINT NOT NULL,
  PRIMARY KEY (hour, route, principal, key, team, model)
);
