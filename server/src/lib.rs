//! Every endpoint in one process on one port, for containers: the same routes, feeds and worker code as
//! the functions have, without Lambda.
//!
//! A process that is asked to end (SIGTERM, SIGINT) says so at `/ready`, ends its streams with `rotate`,
//! spread over its grace, and exits with 0 once they have.

mod config;
mod connections;
mod metrics;
mod routes;

use std::{net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use rand::RngExt;
use shared::{
    config::Env,
    http::{Edge, status},
    ingest::Ingest,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    time::sleep,
};

use self::{config::Config, connections::Front, routes::Routes};

/// Why a server cannot start, or ended.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

const HELP: &str = "\
Serves every endpoint of Runcast on one port, until SIGTERM.

It is configured by variables alone: those of the functions (REDIS_URL, DATABASE_URL, AUTH_JWKS,
AUTH_ISSUER, AUTH_AUDIENCE, …), and
  LISTEN                  where it listens (0.0.0.0:8080)
  SHUTDOWN_GRACE_SECONDS  over how long its streams end after SIGTERM (25)
  SWEEP_SECONDS           how often it looks for executions of which nothing is heard; 0: never (60)
  PROXIES                 how many proxies before it append to X-Forwarded-For (0)
  DATABASE_CONNECTIONS    the most connections of streams, and of updates, to Postgres (8)

Example:
  LISTEN=127.0.0.1:8080 REDIS_URL=redis://… DATABASE_URL=postgres://… AUTH_JWKS=https://… \\
    AUTH_ISSUER=… AUTH_AUDIENCE=… runcast-server";

/// Answers a command line, which has nothing but questions.
#[must_use]
#[expect(clippy::print_stdout, reason = "what it is for")]
pub fn explain(argument: &str) -> ExitCode {
    match argument {
        "--help" | "-h" => println!("{HELP}"),
        "--version" | "-V" => println!("runcast-server {}", env!("CARGO_PKG_VERSION")),
        other => {
            eprintln!("runcast-server takes no arguments, such as {other}: see runcast-server --help");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Serves until it is asked to end. Calls `ready` once it listens.
///
/// # Errors
/// Where a variable has a value that it does not take, or the port is taken.
pub fn run(env: &Env, ready: impl FnOnce(SocketAddr)) -> Result<(), Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(env, ready))
}

/// As [`run`], within a runtime.
///
/// # Errors
/// As there.
pub async fn serve(env: &Env, ready: impl FnOnce(SocketAddr)) -> Result<(), Error> {
    let config = Config::from_env(env)?;
    let edge = Edge::from_env(env)?;
    let log = status::log(env, config.connections)?;
    let ingest = Arc::new(Ingest::from_env(env, config.connections)?);
    let front = Front {
        routes: Routes::new(env, &edge, &log, &ingest, metrics::install()?)?,
        proxies: config.proxies,
    };
    let listen = config.listen;
    let listener = TcpListener::bind(listen).await;
    let listener = listener.map_err(|error| format!("LISTEN: {listen} cannot be used ({error})"))?;
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    ready(listener.local_addr()?);
    let asked_to_end = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!(seconds = config.grace.as_secs(), "ending");
        edge.drain().begin(config.grace);
    };
    tokio::select! {
        () = connections::serve(listener, front, config.grace, asked_to_end) => {}
        () = sweep(&ingest, config.sweep_every) => {}
    }
    Ok(())
}

/// Sweeps again and again; several servers, and the worker, may do so at once.
async fn sweep(ingest: &Ingest, every: Option<Duration>) {
    let Some(every) = every else {
        return std::future::pending().await;
    };
    loop {
        let share = rand::rng().random_range(0.8..1.0);
        sleep(every.mul_f64(share)).await;
        // Why it failed, is logged.
        let _ = ingest.sweep().await;
    }
}
