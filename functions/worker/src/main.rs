//! Takes status updates, commits them to the log, then tells Redis.

mod batch;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::{Value, json, value::RawValue};
use shared::{cause, function, ingest::Ingest, telemetry};

use crate::batch::{Invocation, Outbox};

/// How long a sweep goes on at most, while there is more to look at.
const SWEEP_PATIENCE: Duration = Duration::from_secs(15);

fn main() -> ExitCode {
    function::run(async |env| {
        let ingest = Ingest::from_env(&env, 1)?;
        // Not a `Value`: one that cannot be held would cost the whole batch.
        let handle = |event: LambdaEvent<Box<RawValue>>| handle(&ingest, event.payload);
        lambda_runtime::run(service_fn(handle)).await
    })
}

async fn handle(ingest: &Ingest, payload: Box<RawValue>) -> Result<Value, Diagnostic> {
    let answer = match Invocation::read(payload.get()).map_err(function::failure)? {
        Invocation::Updates(batch) => {
            let answers = ingest.commit(&batch.submissions, batch.groups()).await;
            batch.answer(&answers)
        }
        Invocation::Sweep => sweep(ingest).await,
        Invocation::Outbox(outbox) => tell(ingest, outbox).await,
    };
    telemetry::flush();
    answer.map_err(function::failure)
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

/// Looks for executions of which nothing is heard any more, for as long as there is time.
async fn sweep(ingest: &Ingest) -> Result<Value, String> {
    let give_up_at = Instant::now() + SWEEP_PATIENCE;
    let (mut stale, mut given_up) = (0, 0);
    loop {
        let sweep = ingest.log.sweep(ingest.stalled_after).await;
        let sweep = sweep.map_err(|error| {
            metrics::counter!("PostgresErrors").increment(1);
            tracing::error!(error = cause::chain(&error), "the sweep failed");
            "the log cannot be swept now; see the function's log".to_owned()
        })?;
        ingest.publisher.publish(&sweep.events).await;
        stale += sweep.swept.stale;
        given_up += sweep.swept.given_up;
        if !sweep.more || Instant::now() > give_up_at {
            break;
        }
    }
    metrics::counter!("Sweeps").increment(1);
    metrics::counter!("ExecutionsStale").increment(stale as u64);
    metrics::counter!("ExecutionsGivenUp").increment(given_up as u64);
    Ok(json!({"stale": stale, "givenUp": given_up}))
}
