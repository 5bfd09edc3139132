//! What every function's `main` does: logs, a runtime, and one line where it cannot start.

use std::process::ExitCode;

use lambda_runtime::Diagnostic;

use crate::{config::Env, telemetry};

/// Runs a function until Lambda ends it.
///
/// A function that cannot start says why in one line on stderr.
pub fn run<F>(function: impl FnOnce(Env) -> F) -> ExitCode
where
    F: Future<Output = Result<(), lambda_runtime::Error>>,
{
    telemetry::init();
    let env = Env::of_process();
    // One thread: it serves one stream as well as the 1,600 that Managed Instances may bring.
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let result = match runtime.enable_all().build() {
        Ok(runtime) => runtime.block_on(function(env)),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// What an invocation that fails is answered with. Without it, the answer would name a type of Rust's.
#[must_use]
pub fn failure(message: String) -> Diagnostic {
    Diagnostic {
        error_type: "Failure".to_owned(),
        error_message: message,
    }
}
