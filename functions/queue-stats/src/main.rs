//! The SSE endpoint for live statistics of the queues.

use std::process::ExitCode;

use shared::{function, http::queues};

fn main() -> ExitCode {
    function::run(queues::run)
}
