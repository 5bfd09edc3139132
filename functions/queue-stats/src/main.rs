//! The SSE endpoint for live statistics of the queues.

use std::process::ExitCode;

use shared::http::{Edge, queues};

fn main() -> ExitCode {
    lambda::run(async |env| {
        let edge = Edge::from_env(&env)?;
        lambda::serve(queues::router(&env, &edge)?).await
    })
}
