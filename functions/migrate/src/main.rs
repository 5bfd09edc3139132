//! The schema of the log and its retention, as a deploy step and on a schedule.

use std::process::ExitCode;

use lambda_runtime::{LambdaEvent, service_fn};
use serde::Deserialize;
use serde_json::{Value, json};
use shared::{cause, config::Database, function, log::schema};

/// What to do.
#[derive(Deserialize)]
#[serde(tag = "action", rename_all = "camelCase", deny_unknown_fields)]
enum Order {
    /// Bring the schema to this version.
    Migrate {},
    /// Delete what is older than so many days.
    #[serde(rename_all = "camelCase")]
    Prune {
        #[serde(default = "thirty")]
        older_than_days: u32,
    },
}

fn thirty() -> u32 {
    30
}

fn main() -> ExitCode {
    function::run(async |env| {
        let database = Database::from_env(&env)?;
        let handle = |event: LambdaEvent<Value>| handle(&database, event.payload);
        lambda_runtime::run(service_fn(handle)).await
    })
}

async fn handle(database: &Database, order: Value) -> Result<Value, String> {
    let order = serde_json::from_value(order).map_err(|error| {
        format!(
            "not an order ({error}); send {{\"action\":\"migrate\"}} or \
             {{\"action\":\"prune\",\"olderThanDays\":30}}"
        )
    })?;
    let result = match order {
        Order::Migrate {} => {
            let applied = schema::migrate(database).await;
            applied.map(|applied| json!({"applied": applied}))
        }
        Order::Prune { older_than_days } => {
            let pruned = schema::prune(database, older_than_days).await;
            pruned.map(|pruned| {
                json!({
                    "prunedEvents": pruned.events,
                    "prunedRejectedUpdates": pruned.rejected_updates,
                })
            })
        }
    };
    // The cause stays in the log: it may name hosts and users.
    result.map_err(|error| {
        tracing::error!(error = cause::chain(&error), "failed");
        format!("{error}; see the function's log")
    })
}
