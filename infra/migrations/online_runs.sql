-- What must be there before V8, each statement for itself and without a lock that anybody waits for. It
-- can be repeated.

-- A stream of a run's tests.
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS events_of_run
    ON events (organization_id, run_id, run_seq)
    WHERE run_id IS NOT NULL;

-- A run's tests: those not finished, those that failed, the rest. It changes with the status only.
CREATE INDEX CONCURRENTLY IF NOT EXISTS executions_of_run_by_rank
    ON executions (
        organization_id, run_id,
        (CASE WHEN status IN ('waiting', 'running') THEN 0
              WHEN status IN ('failed', 'error') THEN 1 ELSE 2 END),
        id)
    WHERE kind = 'test';
