//! The schema of the log and its retention: as a custom resource of `CloudFormation` at each
//! deployment, on a schedule, and by direct invocation.

mod custom_resource;

use std::process::ExitCode;

use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde::Deserialize;
use serde_json::{Value, json};
use shared::{
    cause,
    config::Database,
    log::{LogError, schema},
};

use crate::custom_resource::Request;

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
    /// Take note that the log was restored: its numbers are of a new epoch.
    Restored {},
}

fn thirty() -> u32 {
    30
}

fn main() -> ExitCode {
    lambda::run(async |env| {
        let database = Database::from_env(&env)?;
        let handle = |event: LambdaEvent<Value>| handle(&database, event.payload);
        lambda_runtime::run(service_fn(handle)).await
    })
}

async fn handle(database: &Database, payload: Value) -> Result<Value, Diagnostic> {
    serve(database, payload).await.map_err(lambda::failure)
}

async fn serve(database: &Database, payload: Value) -> Result<Value, String> {
    if payload.get("ResponseURL").is_some() {
        let request = Request::read(payload)?;
        return custom_resource::serve(database, &request).await;
    }
    let order = serde_json::from_value(payload).map_err(|error| {
        format!(
            "not an order ({error}); send {{\"action\":\"migrate\"}}, \
             {{\"action\":\"prune\",\"olderThanDays\":30}} or {{\"action\":\"restored\"}}"
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
        Order::Restored {} => {
            let epoch = schema::begin_epoch(database).await;
            epoch.map(|epoch| json!({"epoch": epoch}))
        }
    };
    result.map_err(|error| reason(&error))
}

/// What is said of a failure. Its cause stays in the log: it may name hosts and users.
fn reason(error: &LogError) -> String {
    tracing::error!(error = cause::chain(error), "failed");
    format!("{error}; see the function's log")
}
