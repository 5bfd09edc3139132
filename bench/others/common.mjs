// What both Node servers share: the address, the log, and the end.

import pg from "pg";

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 8 });

/** An execution's current state as JSON, and its number. */
export async function currentState(id) {
  const { rows } = await pool.query("SELECT state, seq FROM executions WHERE kind = 'job' AND id = $1", [id]);
  return rows[0] ?? { state: JSON.stringify({ kind: "job", runId: id, status: "waiting", seq: 0 }), seq: 0 };
}

/** The channels of an execution. */
export const channelsOf = (id) => [`job:${id}:status`, `job:${id}:complete`];

/** Serves until it is told to end. */
export function serve(server) {
  server.listen(Number(process.env.PORT), "127.0.0.1", 4096, () => console.log("ready"));
  process.on("SIGTERM", () => process.exit(0));
}
