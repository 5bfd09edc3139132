//! One execution environment: the real function's process, with its own Runtime API.

use std::{
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use nix::{sys::signal::Signal, unistd::Pid};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::Command,
    sync::watch,
    time::{Instant, timeout},
};

use crate::{
    Error,
    invocation::{Invocation, NoAnswer},
    listener::listen,
    process,
    runtime_api::RuntimeApi,
};

/// How long the initialization may take, as in Lambda.
const INIT_LIMIT: Duration = Duration::from_secs(10);

/// What the environments of a function have in common.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    pub(crate) binary: PathBuf,
    pub(crate) variables: Vec<(String, String)>,
    pub(crate) memory_mb: u32,
    /// What its function URL serves, below `/api`; `None` where it has none.
    pub(crate) paths: &'static [&'static str],
    /// Whether its invocations are neither told nor booked: the stack's own, every second.
    pub(crate) is_quiet: bool,
    /// How many invocations one process serves at once; 1 but with Managed Instances.
    pub(crate) concurrency: usize,
    /// Chunks of answers that have fewer bytes are held back.
    pub(crate) hold_chunks: usize,
    /// The process group to start in.
    pub(crate) group: i32,
}

/// A running environment.
pub(crate) struct Environment {
    pub(crate) pid: Pid,
    pub(crate) init: Duration,
    api: Arc<RuntimeApi>,
    exited: watch::Receiver<Option<ExitStatus>>,
}

impl Environment {
    /// Starts a process, and waits until it asks for its first invocation.
    pub(crate) async fn start(spec: &Spec) -> Result<Self, NoAnswer> {
        let failed = |error: Error| NoAnswer::Init(format!("{} did not start: {error}", spec.name));
        let started = Instant::now();
        let arn = format!("arn:aws:lambda:local:000000000000:function:{}", spec.name);
        let api = RuntimeApi::new(arn, spec.hold_chunks);
        let (pid, exited, last_line) = launch(spec, &api).map_err(failed)?;
        let environment = |init| Environment {
            pid,
            init,
            api: api.clone(),
            exited: exited.clone(),
        };
        let mut ended = exited.clone();
        let ready = async {
            tokio::select! {
                () = api.asked() => true,
                _ = ended.wait_for(Option::is_some) => false,
            }
        };
        match timeout(INIT_LIMIT, ready).await {
            Ok(true) => Ok(environment(started.elapsed())),
            Ok(false) => {
                let said = last_line
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone();
                Err(failed(said.into()))
            }
            Err(_) => {
                environment(started.elapsed()).kill();
                Err(failed(
                    format!("no `next` within {} s", INIT_LIMIT.as_secs()).into(),
                ))
            }
        }
    }

    pub(crate) fn invoke(&self, invocation: Arc<Invocation>) {
        self.api.invoke(invocation);
    }

    pub(crate) fn forget(&self, invocation: &Invocation) {
        self.api.forget(invocation);
    }

    /// Waits until the function asks for an invocation.
    pub(crate) async fn idle(&self) {
        self.api.asked().await;
    }

    /// Waits until the process has ended.
    pub(crate) async fn exited(&self) {
        let _ = self.exited.clone().wait_for(Option::is_some).await;
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.exited.borrow().is_none()
    }

    pub(crate) fn freeze(&self) {
        process::signal(self.pid, Signal::SIGSTOP);
    }

    pub(crate) fn thaw(&self) {
        process::signal(self.pid, Signal::SIGCONT);
    }

    pub(crate) fn kill(&self) {
        if self.is_alive() {
            process::signal(self.pid, Signal::SIGKILL);
        }
    }

    /// The most memory that the process has held, in MB; 0 where the system does not tell.
    pub(crate) fn peak_memory_mb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid));
        let status = status.unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse().ok());
        kilobytes.map_or(0, |kilobytes: u64| kilobytes.div_ceil(1024))
    }
}

type Launched = (Pid, watch::Receiver<Option<ExitStatus>>, Arc<Mutex<String>>);

fn launch(spec: &Spec, api: &Arc<RuntimeApi>) -> Result<Launched, Error> {
    let listener = listen(0)?;
    let address = listener.local_addr()?;
    let mut command = Command::new(&spec.binary);
    command
        .env_remove("AWS_LAMBDA_MAX_CONCURRENCY")
        .envs(spec.variables.iter().map(|(name, value)| (name, value)))
        .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
        .env("AWS_LAMBDA_FUNCTION_NAME", spec.name)
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env(
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
            spec.memory_mb.to_string(),
        )
        .env(
            "AWS_LAMBDA_LOG_GROUP_NAME",
            format!("/aws/lambda/{}", spec.name),
        )
        .env(
            "AWS_LAMBDA_LOG_STREAM_NAME",
            format!("local/{}", address.port()),
        )
        .env("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
        .env("_HANDLER", "bootstrap")
        .env("TZ", ":UTC")
        .stdin(Stdio::null())
        .stdout(if spec.is_quiet {
            Stdio::null()
        } else {
            Stdio::piped()
        })
        .stderr(Stdio::piped())
        .process_group(spec.group);
    if spec.concurrency > 1 {
        command.env("AWS_LAMBDA_MAX_CONCURRENCY", spec.concurrency.to_string());
    }
    let mut child = command.spawn()?;
    let server = tokio::spawn(api.clone().serve(listener));
    let last_line = Arc::new(Mutex::new("it ended without a word".to_owned()));
    let outputs = [
        child
            .stdout
            .take()
            .map(|stdout| tokio::spawn(pass_on(stdout, None))),
        child
            .stderr
            .take()
            .map(|stderr| tokio::spawn(pass_on(stderr, Some(last_line.clone())))),
    ];
    let pid = process::pid(&child)?;
    let (exit, exited) = watch::channel(None);
    tokio::spawn(async move {
        let status = child.wait().await;
        server.abort();
        for output in outputs.into_iter().flatten() {
            let _ = output.await;
        }
        exit.send_replace(Some(status.unwrap_or_default()));
    });
    Ok((pid, exited, last_line))
}

/// Passes a function's output on, line by line.
async fn pass_on(output: impl AsyncRead + Unpin, last_line: Option<Arc<Mutex<String>>>) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        eprintln!("{line}");
        if let Some(last_line) = &last_line {
            *last_line.lock().unwrap_or_else(PoisonError::into_inner) = line;
        }
    }
}
