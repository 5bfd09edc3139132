//! The SSE endpoint for the status of tests.

use std::process::ExitCode;

use shared::{execution::Kind, function, http::status};

fn main() -> ExitCode {
    function::run(|env| status::run(Kind::Test, env))
}
