-- +goose Up

-- Counts changes of keys, users and groups, so that what is remembered of them
-- can be dropped.
INSERT INTO counter (name, value) VALUES ('access', 0);
