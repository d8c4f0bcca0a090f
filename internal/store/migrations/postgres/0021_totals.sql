-- +goose Up

-- Distinct files and their bytes, counted as they come and go.
INSERT INTO counter (name, value) SELECT 'files', count(*) FROM (SELECT file FROM artifact_file GROUP BY file) AS f;
INSERT INTO counter (name, value) SELECT 'bytes', coalesce(sum(f.size), 0) FROM (SELECT max(size) AS size FROM artifact_file GROUP BY file) AS f;

CREATE INDEX version_demo ON version (demo);
CREATE INDEX finding_group_state ON finding_group (state, severity);
