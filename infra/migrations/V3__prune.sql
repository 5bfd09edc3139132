-- Once pages that a prune emptied are used again, each holds events of all times: a BRIN index then
-- finds nothing. These grow at their right end only. What exists is dropped last: until then
-- everybody reads on.
CREATE INDEX events_recorded_at ON events (recorded_at);
CREATE INDEX rejected_updates_rejected_at ON rejected_updates (rejected_at);
DROP INDEX events_recorded;

-- Whoever waits for a row longer than a worker does must not keep those that it has locked.
ALTER ROLE runcast_writer SET lock_timeout = '4s';
