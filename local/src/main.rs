//! `runcast`: a local AWS Lambda for functions that stream through function URLs, and the command
//! of whoever works with Runcast.

mod arguments;
mod buttons;
mod checkout;
mod client;
mod cost;
mod dashboard;
mod demo;
mod embedded;
mod environment;
mod function_url;
mod functions;
mod gateway;
mod hold;
mod invocation;
mod lambda;
mod listener;
mod postgres;
mod prelude;
mod process;
mod reaper;
mod report;
mod results;
mod runtime_api;
mod same_origin;
mod scene;
mod schedule;
mod serve;
mod servers;
mod signer;
mod up;
mod valkey;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

/// Live status of test and job executions, on one machine as it behaves in AWS.
#[derive(Parser)]
#[command(
    version,
    after_help = "\
Examples:
  runcast up                              # in one terminal
  runcast tail job r1                     # in another
  runcast publish job r1 running          # in a third
  runcast publish job r1 passed"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start everything: Valkey, Postgres, and every function under its real lifecycle
    Up(up::Options),
    /// Serve every endpoint from this one process, as `runcast-server` does in a container
    Serve(serve::Options),
    /// Start everything, and play a lively scene
    Demo(demo::Options),
    /// Send one status update through the worker, and print its answer
    Publish(Box<client::publish::Options>),
    /// Print a stream, resuming where it ends too early
    Tail(client::tail::Options),
    /// Run a command as a job run, and exit as it does
    Run(Box<client::run::Options>),
    /// Send what test tools have written: JUnit XML, CTRF JSON, pytest-reportlog
    Import(Box<client::import::Options>),
    /// Print a token signed by the running stack's key
    Token(client::token::Options),
    /// Print what makes a shell complete these commands: bash, zsh, fish, elvish or powershell
    #[command(after_help = "\
Examples:
  source <(runcast completions bash)
  runcast completions fish > ~/.config/fish/completions/runcast.fish")]
    Completions {
        /// Of which shell
        shell: Shell,
    },
    /// Compute what a month, or a run, costs in AWS
    Cost(Box<cost::Options>),
    /// End what is left of a stack whose parent died
    #[command(hide = true)]
    Reaper(reaper::Options),
}

fn main() -> ExitCode {
    // Only one provider is compiled in; installed by hand, since reqwest asks for it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("runcast: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        match cli.command {
            Command::Up(options) => up::run(options).await,
            Command::Serve(options) => serve::run(options).await,
            Command::Demo(options) => demo::run(options).await,
            Command::Publish(options) => client::publish::run(*options).await,
            Command::Tail(options) => client::tail::run(options).await,
            Command::Run(options) => client::run::run(*options).await,
            Command::Import(options) => client::import::run(*options).await,
            Command::Token(options) => client::token::run(options).await,
            Command::Completions { shell } => {
                let mut text = Vec::new();
                clap_complete::generate(shell, &mut Cli::command(), "runcast", &mut text);
                client::say(String::from_utf8_lossy(&text).trim_end());
                Ok(ExitCode::SUCCESS)
            }
            Command::Cost(options) => Ok(cost::run(&options)),
            Command::Reaper(options) => reaper::run(&options).await,
        }
    });
    // Whatever still blocks a thread must not hold up the end.
    runtime.shutdown_background();
    result.unwrap_or_else(|error| {
        eprintln!("runcast: {error}");
        let mut cause = error.source();
        while let Some(error) = cause {
            eprintln!("  because: {error}");
            cause = error.source();
        }
        ExitCode::FAILURE
    })
}

/// An error on its way to the person at the terminal.
type Error = Box<dyn std::error::Error + Send + Sync>;
