//! `runcast up`: the whole stack on one machine.

use std::{
    fs::{File, TryLockError},
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use axum::{Router, serve::ListenerExt};
use serde_json::json;
use shared::{config, execution::Id};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use crate::{
    Error,
    arguments::{self, Secret},
    buttons::Buttons,
    functions::Functions,
    gateway::{self, Gateway},
    lambda::Lambda,
    listener::listen,
    process,
    reaper::Reaper,
    report::Report,
    schedule,
    servers::{Addresses, Given, Servers},
    signer::{Scope, Signer, TokenRequest},
};

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  runcast up
  runcast up --port 8788                         # a second stack beside the first
  runcast up --managed 100                       # as on Lambda Managed Instances
  STREAM_WINDOW_SECONDS=20 runcast up            # variables reach the functions

Prints one JSON line on stdout when ready; ends with Ctrl-C.")]
pub(crate) struct Options {
    #[command(flatten)]
    place: Place,
    /// Each function's time limit
    #[arg(long, default_value_t = 900, value_parser = clap::value_parser!(u64).range(1..=900))]
    timeout_seconds: u64,
    /// How many environments a function may have; with --managed, a streaming function has one
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..))]
    max_environments: u16,
    /// One process for each streaming function, serving N invocations at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=1600))]
    managed: Option<u32>,
    /// Hold back what a stream sends in fewer bytes until it sends more, a second at most, as is reported of
    /// Lambda [default BYTES: 16384]
    #[arg(long, value_name = "BYTES", overrides_with = "hold_chunks", num_args = 0..=1, require_equals = true, default_value = "0", default_missing_value = "16384", hide_default_value = true)]
    hold_chunks: usize,
}

/// Where a stack is, and with which servers.
#[derive(clap::Args)]
pub(crate) struct Place {
    /// Where it is served; 0 takes a free port
    #[arg(long, default_value_t = 8787)]
    pub(crate) port: u16,
    /// A Redis to use instead of an embedded Valkey
    #[arg(long, value_parser = Secret::REDIS_URL)]
    pub(crate) redis_url: Option<String>,
    /// A Postgres to use instead of an embedded one; the schema is migrated
    #[arg(long, value_parser = Secret::DATABASE_URL)]
    pub(crate) database_url: Option<String>,
    /// Where Postgres keeps its data, and the logs are; Redis's data is not kept. Without, a folder
    /// that is removed in the end
    #[arg(long, value_parser = arguments::folder)]
    pub(crate) state_dir: Option<PathBuf>,
    /// End when stdin does: when the process that started it is gone
    #[arg(long)]
    pub(crate) end_with_stdin: bool,
}

const ISSUER: &str = "runcast-local";
const AUDIENCE: &str = "runcast";

pub(crate) async fn run(options: Options) -> Result<ExitCode, Error> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut started = Started::default();
    let result = tokio::select! {
        result = serve(&options, &mut started) => result,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
        () = process::stdin_ended(), if options.place.end_with_stdin => Ok(()),
    };
    started.stop().await;
    result.map(|()| ExitCode::SUCCESS)
}

/// What has to be stopped, in this order.
#[derive(Default)]
pub(crate) struct Started {
    pub(crate) lambdas: Vec<Lambda>,
    servers: Option<Arc<Servers>>,
    reaper: Option<Reaper>,
    state_dir: Option<tempfile::TempDir>,
    /// Of a folder that was named: two stacks in one would take each other's servers for their own.
    lock: Option<File>,
}

impl Started {
    /// Where data is kept: the folder that was named, or one that is removed in the end.
    fn state_dir(&mut self, named: Option<&Path>) -> Result<PathBuf, Error> {
        let Some(dir) = named else {
            let dir = tempfile::Builder::new().prefix("runcast-").tempdir()?;
            return Ok(self.state_dir.insert(dir).path().to_owned());
        };
        let shown = dir.display();
        let in_dir = |error: std::io::Error| format!("{shown} cannot be used: {error}");
        std::fs::create_dir_all(dir).map_err(in_dir)?;
        let lock = File::create(dir.join("lock")).map_err(in_dir)?;
        match lock.try_lock() {
            Ok(()) => self.lock = Some(lock),
            Err(TryLockError::Error(error)) => return Err(in_dir(error).into()),
            Err(TryLockError::WouldBlock) => {
                let advice = "end it, or name another --state-dir";
                return Err(format!("another `runcast up` uses {shown}: {advice}").into());
            }
        }
        Ok(std::fs::canonicalize(dir).map_err(in_dir)?)
    }

    pub(crate) async fn stop(self) {
        for lambda in &self.lambdas {
            lambda.stop();
        }
        if let Some(servers) = self.servers {
            servers.stop().await;
        }
        drop(self.state_dir);
        drop(self.reaper);
    }
}

async fn serve(options: &Options, started: &mut Started) -> Result<(), Error> {
    let max_environments = usize::from(options.max_environments);
    // Every environment may open a connection at once.
    let connections = max_environments.clamp(100, 2000) + 50;
    let ground = started.ground(&options.place, connections).await?;
    let functions = Functions {
        url: ground.url.clone(),
        time_limit: Duration::from_secs(options.timeout_seconds),
        max_environments,
        managed: options.managed,
        hold_chunks: options.hold_chunks,
        group: ground.group,
        report: Report::default(),
        variables: ground.variables.clone(),
    };
    let (servers, prefix) = (&ground.servers, &ground.queue_prefix);
    let lambdas = &mut started.lambdas;
    functions.migrate(servers, lambdas).await?;
    let scheduled = functions.prepare(servers, prefix, lambdas).await?;
    ground.announce()?;
    let (listener, router) = ground.gateway(&started.lambdas, functions.report);
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    // Bytes are passed on the moment they arrive.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    tokio::select! {
        served = axum::serve(listener, service).into_future() => served?,
        never = schedule::run(&scheduled) => match never {},
    }
    Ok(())
}

/// What a stack stands on, before there are functions.
pub(crate) struct Ground {
    listener: TcpListener,
    pub(crate) url: String,
    pub(crate) servers: Arc<Servers>,
    pub(crate) group: i32,
    pub(crate) variables: Vec<(String, String)>,
    pub(crate) queue_prefix: String,
    signer: Signer,
}

impl Started {
    /// Listens, and starts the servers.
    pub(crate) async fn ground(
        &mut self,
        place: &Place,
        connections: usize,
    ) -> Result<Ground, Error> {
        let port = place.port;
        let listener = listen(port).map_err(|error| {
            format!("port {port} cannot be used ({error}): choose another with --port")
        })?;
        let url = format!("http://{}", listener.local_addr()?);
        let state_dir = self.state_dir(place.state_dir.as_deref())?;
        let reaper = Reaper::start(&state_dir, place.state_dir.is_none())?;
        let reaper = self.reaper.insert(reaper);
        let given = Given {
            redis_url: place.redis_url.clone(),
            database_url: place.database_url.clone(),
        };
        let servers = Servers::start(&given, connections, &state_dir, reaper).await?;
        let servers = self.servers.insert(Arc::new(servers)).clone();
        let (signer, variables) = access()?;
        let queues = check(&variables, &servers.owner)?;
        Ok(Ground {
            listener,
            url,
            servers,
            group: reaper.group,
            variables,
            queue_prefix: queues.prefix,
            signer,
        })
    }
}

impl Ground {
    /// Says that the stack is ready.
    pub(crate) fn announce(&self) -> Result<(), Error> {
        announce(&self.url, &self.servers.owner, &self.signer)?;
        eprintln!("runcast: ready at {}", self.url);
        Ok(())
    }

    /// What is served at the stack's port: its functions, the Invoke API, the dashboard.
    pub(crate) fn gateway(self, lambdas: &[Lambda], report: Report) -> (TcpListener, Router) {
        let lambdas = lambdas.iter().filter(|it| !it.is_quiet());
        let gateway = Gateway {
            lambdas: lambdas.cloned().collect(),
            report,
            signer: self.signer,
        };
        let buttons = Buttons::new(&self.url, self.servers, self.queue_prefix);
        let router = gateway::router(Arc::new(gateway), Arc::new(buttons));
        (self.listener, router)
    }
}

/// The stack's own key, and the variables by which the functions accept its tokens.
fn access() -> Result<(Signer, Vec<(String, String)>), Error> {
    let env = config::Env::of_process();
    let text = |name: &str, default: &str| env.get(name).unwrap_or(default).to_owned();
    let issuer = text("AUTH_ISSUER", ISSUER);
    let audience = text("AUTH_AUDIENCE", AUDIENCE);
    let signer = Signer::new(issuer.clone(), audience.clone())?;
    let variables = [
        ("AUTH_JWKS", signer.key_set(env.get("AUTH_JWKS"))),
        ("AUTH_ISSUER", issuer),
        ("AUTH_AUDIENCE", audience),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value));
    Ok((signer, variables.into()))
}

/// Stops here, with one line, where a function would stop at its start. Returns what is said of the
/// queues.
fn check(variables: &[(String, String)], servers: &Addresses) -> Result<config::Queues, Error> {
    let env = config::Env::of_process();
    let env = env.with(variables.iter().cloned().chain(servers.variables()));
    config::Redis::from_env(&env)?;
    config::Database::from_env(&env)?;
    config::Streams::from_env(&env)?;
    config::Limits::from_env(&env)?;
    config::stalled_after(&env)?;
    shared::access::token::Verifier::new(&config::Access::from_env(&env)?)?;
    Ok(config::Queues::from_env(&env)?)
}

/// Prints the one line that programs read.
#[expect(clippy::print_stdout, reason = "what it is for")]
fn announce(url: &str, owner: &Addresses, signer: &Signer) -> Result<(), Error> {
    let org: Id = "demo".parse()?;
    let token = |scope| {
        signer.sign(&TokenRequest {
            org: org.clone(),
            projects: None,
            queues: None,
            ttl_seconds: 30 * 24 * 3600,
            scope: vec![scope],
        })
    };
    let ready = json!({
        "url": url,
        "redisUrl": owner.redis_url,
        "databaseUrl": owner.database_url,
        "token": token(Scope::Read)?,
        "writeToken": token(Scope::Write)?,
        "pid": std::process::id(),
    });
    println!("{ready}");
    Ok(std::io::stdout().flush()?)
}
