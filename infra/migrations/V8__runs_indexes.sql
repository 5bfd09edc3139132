-- See online_runs.sql: what replaces it is there by now.

DROP INDEX executions_of_run;
