//! `runcast publish`

use std::process::ExitCode;

use serde_json::{Value, json};

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
    kind: String,
    /// The testId or runId
    id: String,
    /// waiting, running, completed, passed, failed, error or cancelled
    status: String,
    #[arg(long, default_value = "demo")]
    org: String,
    #[arg(long, default_value = "demo")]
    project: String,
    /// What makes this update one, however often it is sent; without, a random one
    #[arg(long)]
    event_id: Option<String>,
    /// When it happened (RFC 3339); without, now
    #[arg(long)]
    occurred_at: Option<String>,
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
    #[arg(long)]
    duration_ms: Option<u64>,
    #[arg(long)]
    error_details: Option<String>,
    #[arg(long, value_delimiter = ',')]
    artifact_paths: Option<Vec<String>>,
    #[arg(long)]
    report_path: Option<String>,
    #[arg(long)]
    s3_url: Option<String>,
    #[arg(long)]
    error: Option<String>,
    #[command(flatten)]
    target: Target,
}

pub(crate) async fn run(options: Options) -> Result<ExitCode, Error> {
    let event_id = options
        .event_id
        .unwrap_or_else(|| format!("{:032x}", rand::random::<u128>()));
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
        "durationMs": options.duration_ms,
        "errorDetails": options.error_details,
        "artifactPaths": options.artifact_paths,
        "reportPath": options.report_path,
        "s3Url": options.s3_url,
        "error": options.error,
    });
    let target = &options.target;
    let invocation = reqwest::Client::new()
        .post(target.path("/2015-03-31/functions/worker/invocations"))
        .json(&json!({"updates": [update]}));
    let response = invocation
        .send()
        .await
        .map_err(|error| target.unreachable(error))?;
    let failed = response.headers().contains_key("x-amz-function-error");
    let answer: Value = response.error_for_status()?.json().await?;
    say(&answer);
    let rejected = answer.get("rejected").and_then(Value::as_array);
    let rejected = rejected.is_some_and(|rejected| !rejected.is_empty());
    Ok(if failed || rejected {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
