-- How far those are who are told outward of what has happened: each in each sequence of a project.

CREATE TABLE sinks (
    sink            text   NOT NULL,
    organization_id text   NOT NULL, -- empty: since when there is this sink
    project_id      text   NOT NULL,
    kind            text   NOT NULL,
    seq             bigint NOT NULL,
    PRIMARY KEY (sink, organization_id, project_id, kind)
);
GRANT SELECT, INSERT, UPDATE ON sinks TO runcast_writer;
