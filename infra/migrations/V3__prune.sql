-- Once pages that a prune emptied are used again, each holds events of all times: a BRIN index then
-- finds nothing. These grow at their right end only.
DROP INDEX events_recorded;
CREATE INDEX events_recorded ON events (recorded_at);
CREATE INDEX rejected_updates_rejected ON rejected_updates (rejected_at);
