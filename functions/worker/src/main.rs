//! Takes status updates, commits them to the log, then tells Redis.

mod batch;

use std::process::ExitCode;

use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::Value;
use shared::{
    cause,
    config::{Database, Redis},
    function,
    log::Log,
    publish::Publisher,
    telemetry,
};

use crate::batch::Batch;

fn main() -> ExitCode {
    function::run(async |env| {
        let (redis, database) = (Redis::from_env(&env)?, Database::from_env(&env)?);
        let (log, publisher) = (Log::new(&database, 1), Publisher::new(&redis));
        let handle = |event: LambdaEvent<Value>| handle(&log, &publisher, event.payload);
        lambda_runtime::run(service_fn(handle)).await
    })
}

async fn handle(log: &Log, publisher: &Publisher, invocation: Value) -> Result<Value, String> {
    let batch = Batch::read(invocation)?;
    let answer = match log.append(&batch.submissions).await {
        Ok(appended) => {
            publisher.publish(&appended.events).await;
            Ok(batch.answer(&appended.answers))
        }
        Err(error) => {
            metrics::counter!("PostgresErrors").increment(1);
            tracing::error!(error = cause::chain(&error), "nothing was committed");
            batch.hand_back()
        }
    };
    telemetry::flush();
    answer
}
