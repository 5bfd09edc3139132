//! The sweep: executions of which nothing is heard any more become stale, then end.

use std::time::Duration;

use tokio_postgres::types::Type;

use super::{
    lock::{COLUMNS, execution, lock_swept},
    write::write_and_commit,
};
use crate::{
    cause,
    execution::{Event, Key, Kind, Timestamp},
    log::{Log, LogError, session::Session},
    record::{self, Execution, Rules, Swept},
};

/// How many executions one sweep looks at, at most.
const LIMIT: i64 = 200;

/// How long one of its transactions may take.
const TIMEOUT: Duration = Duration::from_secs(8);

/// What a sweep did.
#[derive(Debug, Default)]
pub struct Sweep {
    /// How many executions have become stale, and were given up.
    pub swept: Swept,
    /// The events to publish, in order.
    pub events: Vec<Event>,
    /// Whether there may be more to look at.
    pub more: bool,
}

impl Log {
    /// Looks at executions that were to be heard of by now, some hundred of them at most. Others may
    /// do the same at the same time.
    ///
    /// # Errors
    /// Where the log can't be read or written now; what was committed before stays.
    pub async fn sweep(&self, stalled_after: Option<u32>) -> Result<Sweep, LogError> {
        let rules = Rules {
            now: Timestamp::now(),
            stalled_after,
        };
        let due = self.due(&rules).await?;
        let more = i64::try_from(due.len()).is_ok_and(|due| due == LIMIT);
        // A run that ends takes its tests along: before they are looked at, each in a transaction.
        let is_run = |execution: &&Execution| {
            execution.state.kind() == Kind::Job && execution.is_dead(&rules)
        };
        let (runs, others): (Vec<_>, Vec<_>) = due.iter().partition(is_run);
        let runs = runs.iter().map(|run| vec![run.key()]);
        let others: Vec<_> = others.iter().map(|execution| execution.key()).collect();
        let mut sweep = Sweep::default();
        for (keys, ends) in runs.map(|run| (run, true)).chain([(others, false)]) {
            if keys.is_empty() {
                continue;
            }
            let ending: &[Key] = if ends { &keys } else { &[] };
            let look = async |session: &Session| look(session, &keys, ending, &rules).await;
            let (swept, events, looked) = match self.transaction(TIMEOUT, look).await {
                Ok(looked) => looked,
                Err(error) if sweep.events.is_empty() => return Err(error),
                // What was committed is to be told; the rest is looked at next time.
                Err(error) => {
                    tracing::warn!(error = cause::chain(&error), "the sweep was cut short");
                    return Ok(sweep);
                }
            };
            sweep.swept.stale += swept.stale;
            sweep.swept.given_up += swept.given_up;
            sweep.events.extend(events);
            // Where all are locked by others, there is nothing to do but come back.
            sweep.more |= more && looked;
        }
        Ok(sweep)
    }

    async fn due(&self, rules: &Rules) -> Result<Vec<Execution>, LogError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM executions
             WHERE status IN ('waiting', 'running') AND look_at <= $1
             ORDER BY look_at
             LIMIT $2"
        );
        let parameters = [
            (&rules.now.0 as _, Type::TIMESTAMPTZ),
            (&LIMIT as _, Type::INT8),
        ];
        let rows = self.query(&sql, &parameters).await?;
        rows.iter().map(execution).collect()
    }
}

async fn look(
    session: &Session,
    keys: &[Key],
    ending: &[Key],
    rules: &Rules,
) -> Result<(Swept, Vec<Event>, bool), LogError> {
    let before = lock_swept(session, keys, ending).await?;
    let mut after = before.clone();
    let (mut new, swept) = record::sweep(keys, &mut after, rules);
    after.retain(|key, execution| before.get(key) != Some(execution));
    write_and_commit(session, &mut new, &after, &[]).await?;
    let events = new.into_iter().map(|new| new.event).collect();
    Ok((swept, events, !after.is_empty()))
}
