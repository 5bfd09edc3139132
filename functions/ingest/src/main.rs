//! The endpoint that producers send status updates to.

use std::process::ExitCode;

use shared::{function, http::updates};

fn main() -> ExitCode {
    function::run(updates::run)
}
