//! `runcast serve`: every endpoint in this one process.

use std::{process::ExitCode, time::Duration};

use axum::Router;
use shared::{config::Env, telemetry};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};

use crate::{
    Error,
    functions::Functions,
    process,
    report::Report,
    up::{Place, Started},
};

/// How many connections an embedded Postgres takes.
const CONNECTIONS: usize = 100;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  runcast serve
  runcast serve --port 8080 --redis-url redis://… --database-url postgres://…
  SHUTDOWN_GRACE_SECONDS=5 runcast serve         # variables as of runcast-server

Prints one JSON line on stdout when ready. Ctrl-C, or SIGTERM, ends each stream with `rotate`, spread
over SHUTDOWN_GRACE_SECONDS (25); a second one ends it at once. `runcast-server` is the same without
servers, keys and the dashboard of its own, for containers.")]
pub(crate) struct Options {
    #[command(flatten)]
    place: Place,
}

pub(crate) async fn run(options: Options) -> Result<ExitCode, Error> {
    telemetry::log(std::io::stderr, &Env::of_process());
    let mut asked = Asked::new(options.place.end_with_stdin)?;
    let mut asked_again = Asked::new(false)?;
    let mut started = Started::default();
    let result = tokio::select! {
        begun = begin(&options.place, &mut started) => begun.map(Some),
        () = asked.end() => Ok(None),
    };
    let result = match result {
        Ok(Some((env, listener, rest))) => tokio::select! {
            served = server::serve(&env, listener, Some(rest), asked.end()) => served,
            () = async { asked_again.end().await; asked_again.end().await } => Ok(()),
        },
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    started.stop().await;
    result.map(|()| ExitCode::SUCCESS)
}

/// Starts servers, migrates the schema, and says how the endpoints are served.
async fn begin(place: &Place, started: &mut Started) -> Result<(Env, TcpListener, Router), Error> {
    let ground = started.ground(place, CONNECTIONS).await?;
    let functions = Functions {
        url: ground.url.clone(),
        time_limit: Duration::from_mins(1),
        max_environments: 10,
        managed: None,
        hold_chunks: 0,
        group: ground.group,
        report: Report::default(),
        variables: ground.variables.clone(),
    };
    let servers = &ground.servers;
    functions.migrate(servers, &mut started.lambdas).await?;
    // For the Invoke API, which `runcast publish` uses; all else needs no function.
    let worker = servers.for_worker().await?;
    functions.worker(&worker, &mut started.lambdas)?;
    let own = servers.for_server(&worker, &ground.queue_prefix).await?;
    // As `runcast up` does, where nothing else is said.
    let sweep = [("SWEEP_SECONDS".to_owned(), "1".to_owned())];
    let env: Env = sweep.into_iter().chain(std::env::vars()).collect();
    let variables = ground.variables.iter().cloned();
    let env = env.with(variables.chain(own.variables()));
    ground.announce()?;
    let (listener, rest) = ground.gateway(&started.lambdas, functions.report);
    Ok((env, listener, rest))
}

/// Who may ask for an end.
struct Asked {
    interrupt: Signal,
    terminate: Signal,
    with_stdin: bool,
}

impl Asked {
    fn new(with_stdin: bool) -> Result<Self, Error> {
        Ok(Asked {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            with_stdin,
        })
    }

    async fn end(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = process::stdin_ended(), if self.with_stdin => {}
        }
    }
}
