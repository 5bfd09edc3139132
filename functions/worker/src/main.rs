//! Takes status updates, commits them to the log, then tells Redis.

mod batch;

use std::process::ExitCode;

use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::{Value, json, value::RawValue};
use shared::{cause, ingest::Ingest, telemetry};

use crate::batch::{Invocation, Outbox};

fn main() -> ExitCode {
    lambda::run(async |env| {
        let ingest = Ingest::from_env(&env, 1)?;
        // Not a `Value`: one that cannot be held would cost the whole batch.
        let handle = |event: LambdaEvent<Box<RawValue>>| handle(&ingest, event.payload);
        lambda_runtime::run(service_fn(handle)).await
    })
}

async fn handle(ingest: &Ingest, payload: Box<RawValue>) -> Result<Value, Diagnostic> {
    let answer = match Invocation::read(payload.get()).map_err(lambda::failure)? {
        Invocation::Updates(batch) => {
            let answers = ingest.commit(&batch.submissions, batch.groups()).await;
            batch.answer(&answers)
        }
        Invocation::Sweep => match ingest.sweep().await {
            Ok(swept) => Ok(json!({"stale": swept.stale, "givenUp": swept.given_up})),
            Err(_) => Err("the log cannot be swept now; see the function's log".to_owned()),
        },
        Invocation::Outbox(outbox) => tell(ingest, outbox).await,
    };
    telemetry::flush();
    answer.map_err(lambda::failure)
}

/// Notes how far a sink was told; says what comes next.
async fn tell(ingest: &Ingest, outbox: Outbox) -> Result<Value, String> {
    let Outbox {
        sink,
        changes,
        told,
    } = outbox;
    let untold = async {
        ingest.log.tell(&sink, &told).await?;
        ingest.log.untold(&sink, changes).await
    };
    let untold = untold.await.map_err(|error| {
        metrics::counter!("PostgresErrors").increment(1);
        tracing::error!(error = cause::chain(&error), "the outbox cannot be read");
        "the outbox cannot be read now; see the function's log".to_owned()
    })?;
    Ok(json!({"untold": untold}))
}
