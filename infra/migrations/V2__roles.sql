-- One role that only reads the log (SSE functions), one that writes it (worker). Neither can log
-- in: whoever deploys grants them to the users of the functions, or gives them LOGIN.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'runcast_reader') THEN
        CREATE ROLE runcast_reader NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'runcast_writer') THEN
        CREATE ROLE runcast_writer NOLOGIN;
    END IF;
END
$$;

GRANT SELECT ON executions, events, projects TO runcast_reader;
GRANT SELECT, INSERT, UPDATE ON executions, projects TO runcast_writer;
GRANT SELECT, INSERT ON events TO runcast_writer;
GRANT INSERT ON rejected_updates TO runcast_writer;

-- A frozen Lambda environment cannot close its connections: Postgres does it.
ALTER ROLE runcast_reader SET idle_session_timeout = '60s';
ALTER ROLE runcast_writer SET idle_session_timeout = '60s';
ALTER ROLE runcast_writer SET idle_in_transaction_session_timeout = '10s';
