//! Takes status updates, commits them to the log, then tells Redis.

mod batch;

use std::process::ExitCode;

use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::{Value, json, value::RawValue};
use shared::{
    cause,
    ingest::Ingest,
    telemetry::{self, traces::Via},
};

use crate::batch::{Invocation, Outbox};

fn main() -> ExitCode {
    lambda::run(async |env| {
        let ingest = Ingest::from_env(&env, 1)?;
        // Not a `Value`: one that cannot be held would cost the whole batch.
        let handle = |event: LambdaEvent<Box<RawValue>>| handle(&ingest, event);
        lambda_runtime::run(service_fn(handle)).await
    })
}

async fn handle(ingest: &Ingest, event: LambdaEvent<Box<RawValue>>) -> Result<Value, Diagnostic> {
    let answer = match Invocation::read(event.payload.get()).map_err(lambda::failure)? {
        Invocation::Updates(mut batch) => {
            let groups = batch.source.groups();
            let via = Via::Invocation {
                is_queue: groups.is_some(),
                request_id: &event.context.request_id,
            };
            let answers = ingest.commit(&mut batch.submissions, groups, via).await;
            batch.answer(&answers)
        }
        Invocation::Sweep => match ingest.sweep().await {
            Ok(swept) => Ok(json!({"stale": swept.stale, "givenUp": swept.given_up})),
            Err(_) => Err("the log cannot be swept now; see the function's log".to_owned()),
        },
        Invocation::Outbox(outbox) => tell(ingest, outbox).await,
    };
    telemetry::flush().await;
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
