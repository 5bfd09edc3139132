-- An execution is named by organization, kind and id. The indexes are there by now, built while
-- everybody went on (see online.sql): this takes moments, whatever the tables' size.

ALTER TABLE executions
    DROP CONSTRAINT executions_pkey,
    ADD CONSTRAINT executions_pkey PRIMARY KEY USING INDEX executions_key;
ALTER TABLE events
    DROP CONSTRAINT events_pkey,
    ADD CONSTRAINT events_pkey PRIMARY KEY USING INDEX events_key,
    DROP CONSTRAINT events_kind_id_event_id_key,
    ADD CONSTRAINT events_event_id_key UNIQUE USING INDEX events_event_id;

DROP INDEX executions_open, executions_finished;
ALTER INDEX executions_open_by_status RENAME TO executions_open;
ALTER INDEX executions_finished_by_end RENAME TO executions_finished;
