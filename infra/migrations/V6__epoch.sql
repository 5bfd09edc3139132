-- Which life of the log its numbers are of: one that was restored, or whose standby had not all of it
-- when it took over, gives numbers anew that clients have seen for other events.

CREATE TABLE epoch (
    epoch    bigint NOT NULL DEFAULT 0, -- 0: its first life; else since when this one is (Unix time)
    timeline text                       -- of Postgres' own log, as the worker saw it last
);
CREATE UNIQUE INDEX epoch_is_one ON epoch ((true));
INSERT INTO epoch DEFAULT VALUES;
GRANT SELECT ON epoch TO runcast_reader;
GRANT SELECT, UPDATE ON epoch TO runcast_writer;

-- Who waits for a worker that was cut off in its transaction, must not give up before Postgres does.
ALTER ROLE runcast_writer SET idle_in_transaction_session_timeout = '2s';

-- How many rejected updates are kept, depends on how many there are.
GRANT SELECT ON rejected_updates TO runcast_writer;
