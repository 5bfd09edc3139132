//! Tells others of what has happened: `EventBridge`, and a webhook. What they are to be told, and how
//! far they were, the log knows: the worker reads it, which alone reaches the database.

mod config;
mod event;
mod sinks;
mod worker;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::{Value, json, value::RawValue};
use shared::{
    cause,
    log::{Told, Untold},
    telemetry,
};

use crate::{
    config::Config,
    event::CloudEvent,
    sinks::{NotTold, Sink},
    worker::Worker,
};

/// For how long it goes on at most, while there is more to tell: the schedule comes each minute, and Lambda
/// ends it after one. A sink may take 10 s for its last answer, and the worker 10 s to note it.
const PATIENCE: Duration = Duration::from_secs(35);

/// After how many failures in a row a sink counts as away, until the schedule comes again.
const MAX_FAILURES: u32 = 3;

fn main() -> ExitCode {
    // Only one provider is compiled in; installed by hand, since reqwest asks for it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    lambda::run(async |env| {
        let Config { worker, sinks } = Config::from_env(&env)?;
        let handle = |_: LambdaEvent<Box<RawValue>>| handle(&worker, &sinks);
        lambda_runtime::run(service_fn(handle)).await
    })
}

/// Tells every sink what is new. One that is away holds up no other.
async fn handle(worker: &Worker, sinks: &[Sink]) -> Result<Value, Diagnostic> {
    let give_up_at = Instant::now() + PATIENCE;
    let (mut told, mut failures) = (0, Vec::new());
    for sink in sinks {
        let notified = notify(worker, sink, give_up_at).await;
        told += notified.told;
        if let Some(failure) = notified.failure {
            metrics::counter!("NotifyFailures").increment(1);
            tracing::error!(
                sink = sink.name(),
                error = cause::chain(&failure),
                "not everything was told; it is told again"
            );
            failures.push(format!("{}: {failure}", sink.name()));
        }
    }
    metrics::counter!("EventsTold").increment(told as u64);
    telemetry::flush().await;
    if failures.is_empty() {
        Ok(json!({"told": told}))
    } else {
        Err(lambda::failure(failures.join("; ")))
    }
}

/// What became of a sink's news.
struct Notified {
    told: usize,
    failure: Option<NotTold>,
}

async fn notify(worker: &Worker, sink: &Sink, give_up_at: Instant) -> Notified {
    let mut notified = Notified {
        told: 0,
        failure: None,
    };
    let mut positions: Vec<Told> = Vec::new();
    let mut failures = 0;
    loop {
        let untold = match worker.outbox(sink.name(), sink.changes(), &positions).await {
            Ok(untold) => untold,
            Err(error) => {
                notified.failure = Some(error);
                return notified;
            }
        };
        let is_over = untold.is_empty() || failures >= MAX_FAILURES || Instant::now() > give_up_at;
        if is_over {
            return notified;
        }
        positions.clear();
        let before = notified.told;
        for of_project in untold {
            if failures >= MAX_FAILURES || Instant::now() > give_up_at {
                break;
            }
            let (told, over) = tell(sink, &of_project, give_up_at).await;
            notified.told += told;
            match over {
                Over::Told => {
                    failures = 0;
                    positions.push(of_project.up_to);
                }
                Over::Early(failure) => {
                    if let Some(failure) = failure {
                        failures += 1;
                        notified.failure = Some(failure);
                    }
                    let last = told
                        .checked_sub(1)
                        .and_then(|last| of_project.events.get(last));
                    positions.extend(last.map(|last| Told {
                        seq: last.project_seq,
                        ..of_project.up_to.clone()
                    }));
                }
            }
        }
        // The same would fail again.
        if notified.failure.is_some() && notified.told == before {
            failures = MAX_FAILURES;
        }
    }
}

/// How the telling of a project's events ended.
enum Over {
    /// All are told.
    Told,
    /// Time is over, or the sink does not take the next one.
    Early(Option<NotTold>),
}

/// Tells a sink of a project's events, in order, as far as it takes them and time allows. Returns how many
/// it was told.
async fn tell(sink: &Sink, untold: &Untold, give_up_at: Instant) -> (usize, Over) {
    let events: Vec<_> = untold
        .events
        .iter()
        .map(|change| CloudEvent::new(&untold.up_to, change))
        .collect();
    let mut told = 0;
    for batch in events.chunks(sink.batch()) {
        if Instant::now() > give_up_at {
            return (told, Over::Early(None));
        }
        match sink.tell(batch).await {
            Ok(()) => told += batch.len(),
            Err(failure) => return (told, Over::Early(Some(failure))),
        }
    }
    (told, Over::Told)
}
