//! `runcast-server`: see the crate.

use std::process::ExitCode;

use shared::{config::Env, telemetry};

fn main() -> ExitCode {
    let env = Env::of_process();
    if let Some(argument) = std::env::args().nth(1) {
        return server::explain(&argument);
    }
    telemetry::log(std::io::stdout, &env);
    match server::run(&env) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
