//! Every endpoint in one process on one port, for containers: the same routes, feeds and worker code as
//! the functions have, without Lambda.
//!
//! A process that is asked to end (SIGTERM, SIGINT) says so at `/ready`, ends its streams with `rotate`,
//! spread over its grace, and exits with 0 once they have.

mod config;
mod connections;
mod metrics;
mod routes;

use std::{io, net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use axum::Router;
use rand::RngExt;
use shared::{
    config::Env,
    http::{Edge, status},
    ingest::Ingest,
    telemetry::traces,
};
use tokio::{
    net::{TcpListener, TcpSocket},
    signal::unix::{SignalKind, signal},
    time::sleep,
};

use self::{config::Config, connections::Front, routes::Routes};

/// Why a server cannot start, or ended.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// How many connections wait to be accepted, where many come at once.
const BACKLOG: u32 = 4096;

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
            eprintln!(
                "runcast-server takes no arguments, such as {other}: see runcast-server --help"
            );
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Serves at `LISTEN` until SIGTERM or SIGINT.
///
/// # Errors
/// Where a variable has a value that it does not take, or the port is taken.
pub fn run(env: &Env) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let asked_to_end = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        let listen = config::listen(env)?;
        let listener = bind(listen);
        let listener =
            listener.map_err(|error| format!("LISTEN: {listen} cannot be used ({error})"))?;
        serve(env, listener, None, asked_to_end).await
    })
}

/// Listens at an address.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until it is asked to end, and its streams have ended. What is no path of its own, `rest`
/// serves.
///
/// # Errors
/// Where a variable has a value that it does not take.
pub async fn serve(
    env: &Env,
    listener: TcpListener,
    rest: Option<Router>,
    asked_to_end: impl Future<Output = ()>,
) -> Result<(), Error> {
    let config = Config::from_env(env)?;
    let edge = Edge::from_env(env)?;
    let log = status::log(env, config.connections)?;
    let ingest = Arc::new(Ingest::from_env(env, config.connections)?);
    let front = Front {
        routes: Routes::new(env, &edge, &log, &ingest, rest)?,
        proxies: config.proxies,
    };
    tracing::info!(address = %listener.local_addr()?, "ready");
    let asked_to_end = async {
        asked_to_end.await;
        tracing::info!(seconds = config.grace.as_secs(), "ending");
        edge.drain().begin(config.grace);
    };
    tokio::select! {
        () = connections::serve(listener, front, config.grace, asked_to_end) => {}
        () = sweep(&ingest, config.sweep_every) => {}
        never = traces::send() => match never {},
    }
    traces::finish().await;
    Ok(())
}

/// Sweeps again and again; several servers, and the worker, may do so at once.
async fn sweep(ingest: &Ingest, every: Option<Duration>) {
    let Some(every) = every else {
        return std::future::pending().await;
    };
    loop {
        sleep(every.mul_f64(rand::rng().random_range(0.8..1.0))).await;
        // Why it failed, is logged.
        let _ = ingest.sweep().await;
    }
}
