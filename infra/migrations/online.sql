-- What must be there before V5, each statement for itself and without a lock that anybody waits for:
-- it may take minutes on a large table, while streams and workers go on. It can be repeated.
--
-- No index has a column that an event changes which leaves the status as it was (seq, project_seq,
-- updated_at): so Postgres rewrites the row in its page, and no index (a HOT update).

UPDATE executions SET ended_at = updated_at
WHERE ended_at IS NULL AND status NOT IN ('waiting', 'running');

CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS executions_key
    ON executions (kind, id, organization_id);

CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS events_key
    ON events (kind, id, organization_id, seq);

CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS events_event_id
    ON events (kind, id, organization_id, event_id);

CREATE INDEX CONCURRENTLY IF NOT EXISTS executions_open_by_status
    ON executions (organization_id, project_id, kind)
    WHERE status IN ('waiting', 'running');

CREATE INDEX CONCURRENTLY IF NOT EXISTS executions_finished_by_end
    ON executions (organization_id, project_id, kind, ended_at DESC NULLS LAST)
    WHERE status NOT IN ('waiting', 'running');

-- A run's tests, when it takes them along.
CREATE INDEX CONCURRENTLY IF NOT EXISTS executions_of_run
    ON executions (organization_id, run_id)
    WHERE kind = 'test' AND status IN ('waiting', 'running');

-- What the sweep looks at.
CREATE INDEX CONCURRENTLY IF NOT EXISTS executions_look_at
    ON executions (look_at)
    WHERE status IN ('waiting', 'running');
