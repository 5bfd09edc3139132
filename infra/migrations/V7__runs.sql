-- The sequence of a run's tests: like a project's, without holes. Adding columns rewrites nothing.

ALTER TABLE executions
    ADD COLUMN run_seq bigint NOT NULL DEFAULT 0; -- of a test: its last event's number among its run's
                                                  -- tests; of a job: the last such number given
ALTER TABLE events
    ADD COLUMN run_id  text,                      -- of a test's: the job run that it is part of
    ADD COLUMN run_seq bigint;                    -- its number there
