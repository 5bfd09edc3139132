//! `runcast publish`

use std::process::ExitCode;

use serde_json::{Value, json};
use shared::execution::Kind;

use super::{Target, say};
use crate::Error;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  runcast publish job r1 running --job-id nightly --completed 3 --total 10
  runcast publish test t1 passed --run-id r1 --duration-ms 1250
  runcast publish job r1 failed --error-details \"2 of 10 tests failed\"")]
pub(crate) struct Options {
    /// test or job
    kind: Kind,
    /// The testId or runId
    id: String,
    /// waiting, running, completed, passed, failed, error or cancelled
    status: String,
    /// Whose execution it is
    #[arg(long, default_value = "demo")]
    org: String,
    /// Where in the organization
    #[arg(long, default_value = "demo")]
    project: String,
    /// What makes this update one, however often it is sent; without, a random one
    #[arg(long)]
    event_id: Option<String>,
    /// When it happened (RFC 3339); without, now
    #[arg(long)]
    occurred_at: Option<String>,
    /// The job that a job run is a run of
    #[arg(long)]
    job_id: Option<String>,
    /// The job run that a test is part of
    #[arg(long)]
    run_id: Option<String>,
    /// How many parts are done
    #[arg(long)]
    completed: Option<u64>,
    /// How many parts there are
    #[arg(long, requires = "completed")]
    total: Option<u64>,
    /// What is being done
    #[arg(long, requires = "completed")]
    message: Option<String>,
    /// When the execution began (RFC 3339); without, when it was first running
    #[arg(long)]
    started_at: Option<String>,
    /// When it ended (RFC 3339); without, when its terminal status occurred
    #[arg(long)]
    completed_at: Option<String>,
    /// How long it took; without, from its beginning to its end
    #[arg(long)]
    duration_ms: Option<u64>,
    /// What went wrong in a job run
    #[arg(long)]
    error_details: Option<String>,
    /// Where a job run's artifacts are, comma separated
    #[arg(long, value_delimiter = ',')]
    artifact_paths: Option<Vec<String>>,
    /// Where a test's report is
    #[arg(long)]
    report_path: Option<String>,
    /// Where a test's report is in S3
    #[arg(long)]
    s3_url: Option<String>,
    /// What went wrong in a test
    #[arg(long)]
    error: Option<String>,
    #[command(flatten)]
    target: Target,
}

pub(crate) async fn run(options: Options) -> Result<ExitCode, Error> {
    let event_id = options.event_id.unwrap_or_else(new_event_id);
    let progress = options.completed.map(|completed| {
        json!({"completed": completed, "total": options.total, "message": options.message})
    });
    let update = json!({
        "eventId": event_id,
        "kind": options.kind,
        "id": options.id,
        "organizationId": options.org,
        "projectId": options.project,
        "status": options.status,
        "occurredAt": options.occurred_at,
        "jobId": options.job_id,
        "runId": options.run_id,
        "progress": progress,
        "startedAt": options.started_at,
        "completedAt": options.completed_at,
        "durationMs": options.duration_ms,
        "errorDetails": options.error_details,
        "artifactPaths": options.artifact_paths,
        "reportPath": options.report_path,
        "s3Url": options.s3_url,
        "error": options.error,
    });
    let worker = "/2015-03-31/functions/worker/invocations";
    let updates = json!({"updates": [update]});
    let response = options.target.post(worker, &updates).await?;
    let failed = response.headers().contains_key("x-amz-function-error");
    let answer: Value = response.json().await?;
    say(&answer);
    let rejected = answer.get("rejected").and_then(Value::as_array);
    let rejected = rejected.is_some_and(|rejected| !rejected.is_empty());
    Ok(if failed || rejected {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// An id that no other update has.
pub(crate) fn new_event_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}
