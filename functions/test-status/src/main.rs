//! The SSE endpoint for the status of tests.

use std::process::ExitCode;

use shared::{execution::Kind, function, http};

fn main() -> ExitCode {
    function::run(|env| http::run(Kind::Test, env))
}
