-- What the life of an execution needs. Adding columns rewrites nothing.

ALTER TABLE executions
    ADD COLUMN ended_at timestamptz,               -- of the last attempt; null: it has not ended
    ADD COLUMN look_at  timestamptz DEFAULT now(), -- when the sweep looks whether it is heard of
    ADD COLUMN private  text;                      -- JSON, what only the worker needs
-- What is there now is looked at once; what comes says itself when.
ALTER TABLE executions ALTER COLUMN look_at DROP DEFAULT;
