//! The SSE endpoint for the status of job runs.

use std::process::ExitCode;

use shared::{
    execution::Kind,
    http::{Edge, status},
};

fn main() -> ExitCode {
    lambda::run(async |env| {
        let edge = Edge::from_env(&env)?;
        let log = status::log(&env, env.connections())?;
        lambda::serve(status::router(Kind::Job, &edge, &log)).await
    })
}
