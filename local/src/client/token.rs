//! `runcast token`

use std::process::ExitCode;

use shared::execution::Id;

use super::{Target, say};
use crate::{
    Error,
    signer::{Scope, TokenRequest},
};

/// A hundred years.
const MAX_TTL_SECONDS: u64 = 100 * 8766 * 3600;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  runcast token --org demo
  runcast token --org demo --projects web,api --ttl 300
  runcast token --org demo --projects web --scope status:write
  curl -N -H \"Authorization: Bearer $(runcast token --org demo)\" \\
    http://127.0.0.1:8787/api/job-status/events/r1")]
pub(crate) struct Options {
    /// Whose executions it is for
    #[arg(long)]
    org: Id,
    /// Which of the organization's projects; without, all
    #[arg(long, value_delimiter = ',')]
    projects: Option<Vec<Id>>,
    /// Which queues' numbers it may read; without, all
    #[arg(long, value_delimiter = ',')]
    queues: Option<Vec<String>>,
    /// How long it lives, in seconds; in a URL, a token may live for 300 at most
    #[arg(long, default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..=MAX_TTL_SECONDS))]
    ttl: u64,
    /// What it is for
    #[arg(long, value_delimiter = ',', default_value = "status:read")]
    scope: Vec<Scope>,
    #[command(flatten)]
    target: Target,
}

pub(crate) async fn run(options: Options) -> Result<ExitCode, Error> {
    let request = TokenRequest {
        org: options.org,
        projects: options.projects,
        queues: options.queues,
        ttl_seconds: options.ttl,
        scope: options.scope,
    };
    say(options.target.token(&request).await?);
    Ok(ExitCode::SUCCESS)
}
