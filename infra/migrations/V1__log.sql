-- The log: every event of every execution, and where each execution stands.

CREATE TABLE executions (
    kind            text        NOT NULL CHECK (kind IN ('job', 'test')),
    id              text        NOT NULL,
    organization_id text        NOT NULL,
    project_id      text        NOT NULL,
    run_id          text,                            -- of a test: the job run it is part of
    seq             bigint      NOT NULL DEFAULT 0,  -- of its last event; 0: not reported yet
    project_seq     bigint      NOT NULL DEFAULT 0,  -- of its last event, in its project
    status          text        NOT NULL DEFAULT 'waiting',
    state           text,                            -- JSON, as clients get it
    updated_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, id)
);

CREATE INDEX executions_open ON executions (organization_id, project_id, kind)
    WHERE seq > 0 AND status IN ('waiting', 'running');
CREATE INDEX executions_finished ON executions (organization_id, project_id, kind, project_seq DESC)
    WHERE seq > 0 AND status NOT IN ('waiting', 'running');

CREATE TABLE events (
    kind            text        NOT NULL,
    id              text        NOT NULL,
    seq             bigint      NOT NULL,
    event_id        text        NOT NULL,
    organization_id text        NOT NULL,
    project_id      text        NOT NULL,
    project_seq     bigint      NOT NULL,
    status          text        NOT NULL,
    state           text        NOT NULL,            -- JSON, as sent
    occurred_at     timestamptz NOT NULL,
    recorded_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, id, seq),
    UNIQUE (kind, id, event_id),                     -- one eventId, one event
    UNIQUE (organization_id, project_id, kind, project_seq)
);

-- Events are recorded in time's order: a few pages of index find what is old enough to prune.
CREATE INDEX events_recorded ON events USING brin (recorded_at);

-- The last number given in each project, per kind.
CREATE TABLE projects (
    organization_id text   NOT NULL,
    project_id      text   NOT NULL,
    kind            text   NOT NULL,
    seq             bigint NOT NULL,
    PRIMARY KEY (organization_id, project_id, kind)
);

-- Updates that can never succeed, and why.
CREATE TABLE rejected_updates (
    number      bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id    text,
    reason      text        NOT NULL,
    body        text        NOT NULL,                -- as it came, at most 128 KB of it
    rejected_at timestamptz NOT NULL DEFAULT now()
);

-- Executions are locked and rewritten with every event: leave room for it on their pages.
ALTER TABLE executions SET (fillfactor = 70);
ALTER TABLE projects SET (fillfactor = 50);
