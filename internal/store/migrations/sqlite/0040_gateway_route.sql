-- +goose Up

-- Routes that administrators gave the gateways at run time.
CREATE TABLE gateway_route (
  name     TEXT PRIMARY KEY,
  config   TEXT NOT NULL,
  disabled INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  changer  TEXT NOT NULL,
  created  INTEGER NOT NULL,
  changed  INTEGER NOT NULL
) STRICT;

-- Counts changes of them.
INSERT INTO counter (name, value) VALUES ('routes', 0);
