//! `runcast publish`

use std::process::ExitCode;

use serde_json::{Value, json};
use shared::{
    execution::{Id, Kind, Timestamp},
    update::Update,
};

use super::{Target, say};
use crate::{
    Error,
    arguments::{self, Secret},
};

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  runcast publish job r1 running --job-id nightly --completed 3 --total 10
  runcast publish job r1 running --message Building
  runcast publish test t1 passed --run-id r1 --duration-ms 1250
  runcast publish job r1 failed --error-details \"2 of 10 tests failed\"")]
pub(crate) struct Options {
    /// test or job
    kind: Kind,
    /// The testId or runId
    id: Id,
    /// waiting, running, completed, passed, failed, error, cancelled or skipped
    #[arg(value_parser = arguments::status)]
    status: String,
    /// Whose execution it is; without, the token's, or demo
    #[arg(long)]
    org: Option<Id>,
    /// Where in the organization
    #[arg(long, default_value = "demo")]
    project: Id,
    /// What makes this update one, however often it is sent; without, a random one
    #[arg(long, value_parser = arguments::event_id)]
    event_id: Option<String>,
    /// When it happened (RFC 3339); without, now
    #[arg(long, value_parser = arguments::time)]
    occurred_at: Option<Timestamp>,
    /// The job that a job run is a run of
    #[arg(long)]
    job_id: Option<Id>,
    /// The job run that a test is part of
    #[arg(long)]
    run_id: Option<Id>,
    /// How many parts are done
    #[arg(long, value_parser = arguments::count())]
    completed: Option<u64>,
    /// How many parts there are
    #[arg(long, requires = "completed", value_parser = arguments::count())]
    total: Option<u64>,
    /// What is being done
    #[arg(long)]
    message: Option<String>,
    /// When the execution began (RFC 3339); without, when it was first running
    #[arg(long, value_parser = arguments::time)]
    started_at: Option<Timestamp>,
    /// When it ended (RFC 3339); without, when its terminal status occurred
    #[arg(long, value_parser = arguments::time)]
    completed_at: Option<Timestamp>,
    /// How long it took; without, from its beginning to its end
    #[arg(long, value_parser = arguments::count())]
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
    /// A token whose scope holds status:write: it is then sent over HTTP, as a producer does
    #[arg(long, env = "RUNCAST_TOKEN", hide_env_values = true, value_parser = Secret::TOKEN)]
    token: Option<String>,
    #[command(flatten)]
    target: Target,
}

impl Options {
    /// The update. What was not said is left out: `null` would take back what is known.
    fn update(&self) -> Value {
        let event_id = self.event_id.clone().unwrap_or_else(new_event_id);
        let demo = self.token.is_none().then_some("demo");
        let organization_id = self.org.as_ref().map(Id::as_str).or(demo);
        said(json!({
            "eventId": event_id,
            "kind": self.kind,
            "id": self.id,
            "organizationId": organization_id,
            "projectId": self.project,
            "status": self.status,
            "occurredAt": self.occurred_at,
            "jobId": self.job_id,
            "runId": self.run_id,
            "progress": self.progress(),
            "startedAt": self.started_at,
            "completedAt": self.completed_at,
            "durationMs": self.duration_ms,
            "errorDetails": self.error_details,
            "artifactPaths": self.artifact_paths,
            "reportPath": self.report_path,
            "s3Url": self.s3_url,
            "error": self.error,
        }))
    }

    fn progress(&self) -> Option<Value> {
        // Workers before 0.2 ask for `completed`, also where only a message is told.
        let completed = self.completed.or(self.message.as_ref().map(|_| 0))?;
        let progress =
            json!({"completed": completed, "total": self.total, "message": self.message});
        Some(said(progress))
    }
}

/// The object without what is null.
pub(super) fn said(mut object: Value) -> Value {
    if let Value::Object(members) = &mut object {
        members.retain(|_, value| !value.is_null());
    }
    object
}

/// What the update says that no worker would take is an error now; what it would leave out is told.
fn check(update: &Value) -> Result<(), Error> {
    let mut update = update.clone();
    // The token's, which the server knows.
    if let Value::Object(members) = &mut update {
        members.entry("organizationId").or_insert("any".into());
    }
    let read = Update::parse(&update.to_string(), Timestamp::now());
    let (_, warnings) = read.map_err(|invalid| format!("nothing was sent: {invalid}"))?;
    for warning in warnings {
        eprintln!("runcast: {}: {}", warning.field, warning.reason);
    }
    Ok(())
}

pub(crate) async fn run(options: Options) -> Result<ExitCode, Error> {
    let path = match options.token {
        Some(_) => "/api/updates",
        None => "/2015-03-31/functions/worker/invocations",
    };
    let update = options.update();
    check(&update)?;
    let updates = json!({"updates": [update]});
    let token = options.token.as_deref();
    let response = options.target.post(path, &updates, token).await?;
    let failed = response.headers().contains_key("x-amz-function-error");
    let answer = options.target.json(response).await?;
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
