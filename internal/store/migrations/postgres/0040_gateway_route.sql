-- +goose Up

-- Routes that administrators gave the gateways at run time.
CREATE TABLE gateway_route (
  name     TEXT PRIMARY KEY,
  config   TEXT NOT NULL,
  disabled BIGINT NOT NULL,
  revision BIGINT NOT NULL,
  changer  TEXT NOT NULL,
  created  BIGINT NOT NULL,
  changed  BIGINT NOT NULL
);

-- Counts changes of them.
INSERT INTO counter (name, value) VALUES ('routes', 0);
