//! A Lambda function: its environments, and how an invocation finds one.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use crate::{
    environment::{Environment, Spec},
    invocation::{Answer, Invocation, NoAnswer},
    report::{Ended, EnvironmentNow, Outcome, Report},
};

/// A function and its environments.
#[derive(Clone)]
pub(crate) struct Lambda(Arc<Inner>);

struct Inner {
    spec: Spec,
    time_limit: Duration,
    max_environments: usize,
    report: Report,
    environments: Mutex<Vec<Entry>>,
    /// An environment has started, or could not.
    started: Notify,
}

/// An environment's place. It is taken before its process is there.
struct Entry {
    id: u64,
    environment: Option<Arc<Environment>>,
    /// Invocations that it serves now.
    busy: usize,
    /// Whether an invocation has paid for its initialization.
    paid: bool,
}

/// An environment held by one invocation.
struct Held {
    entry: u64,
    environment: Arc<Environment>,
    /// The initialization's time, for the first invocation.
    init: Option<Duration>,
}

/// What an invocation gets.
enum Claim {
    /// An environment that has nothing to do.
    Idle(Held),
    /// A place for a new one.
    Place(u64),
    /// None yet: the only one starts.
    Starting,
    Nothing,
}

impl Lambda {
    pub(crate) fn new(
        spec: Spec,
        time_limit: Duration,
        max_environments: usize,
        report: Report,
    ) -> Self {
        Lambda(Arc::new(Inner {
            spec,
            time_limit,
            max_environments,
            report,
            environments: Mutex::default(),
            started: Notify::new(),
        }))
    }

    pub(crate) fn name(&self) -> &'static str {
        self.0.spec.name
    }

    /// Whether it is the stack's own, which nobody else invokes.
    pub(crate) fn is_quiet(&self) -> bool {
        self.0.spec.is_quiet
    }

    /// What its function URL serves, below `/api`.
    pub(crate) fn paths(&self) -> &'static [&'static str] {
        self.0.spec.paths
    }

    /// Starts the one process of a managed function; others start when they are needed.
    pub(crate) async fn prepare(&self) -> Result<(), NoAnswer> {
        if self.is_managed() {
            let held = self.acquire().await?;
            self.with_entry(held.entry, |entry| entry.paid = false);
            self.release(&held);
        }
        Ok(())
    }

    /// Invokes the function; returns as soon as it begins to answer.
    ///
    /// The invocation runs to its end even where nobody waits for it: like Lambda, this does not
    /// tell a function that its caller has gone.
    pub(crate) async fn invoke(&self, payload: Bytes) -> Result<Answer, NoAnswer> {
        let lambda = self.clone();
        let invoked = tokio::spawn(async move { lambda.begin(payload).await });
        let crashed = || NoAnswer::Crashed("-".to_owned());
        invoked.await.unwrap_or_else(|_| Err(crashed()))
    }

    /// The environments as they are now.
    pub(crate) fn environments(&self) -> Vec<EnvironmentNow> {
        let entries = self.entries();
        let now = |entry: &Entry| {
            let environment = entry.environment.as_ref()?;
            Some(EnvironmentNow {
                pid: environment.pid.as_raw(),
                state: match (entry.busy, self.is_managed()) {
                    (0, false) => "frozen",
                    (0, true) => "idle",
                    _ => "busy",
                },
            })
        };
        entries.iter().filter_map(now).collect()
    }

    /// Ends every process.
    pub(crate) fn stop(&self) {
        for entry in self.entries().drain(..) {
            if let Some(environment) = entry.environment {
                environment.kill();
            }
        }
    }

    /// Gives an environment an invocation; returns as soon as it begins to answer.
    async fn begin(&self, payload: Bytes) -> Result<Answer, NoAnswer> {
        let held = self.acquire().await?;
        let limit = self.0.time_limit;
        let (invocation, answer) = Invocation::new(payload, SystemTime::now() + limit);
        let invocation = Arc::new(invocation);
        let request_id = invocation.request_id.clone();
        if !self.0.spec.is_quiet {
            eprintln!("START RequestId: {request_id} Version: $LATEST");
        }
        if !self.is_managed() {
            held.environment.thaw();
        }
        held.environment.invoke(invocation.clone());
        let supervised = tokio::spawn(self.clone().supervise(held, invocation));
        match answer.await {
            Ok(answer) => Ok(answer),
            // Dropped without an answer: the supervisor knows why.
            Err(_) => match supervised.await {
                Ok(Outcome::Timeout) => Err(NoAnswer::TimedOut(request_id, limit.as_secs_f64())),
                _ => Err(NoAnswer::Crashed(request_id)),
            },
        }
    }

    /// Accompanies an invocation to its end; returns how it ended.
    async fn supervise(self, held: Held, invocation: Arc<Invocation>) -> Outcome {
        let started = Instant::now();
        let environment = &held.environment;
        let finished = async {
            invocation.answered().await;
            if !self.is_managed() {
                environment.idle().await;
            }
        };
        let status = tokio::select! {
            () = finished => Outcome::Ok,
            () = environment.exited() => Outcome::Error,
            () = sleep(self.0.time_limit) => Outcome::Timeout,
        };
        let memory = (self.0.spec.memory_mb, environment.peak_memory_mb());
        if status != Outcome::Ok {
            if status == Outcome::Timeout && !self.is_managed() {
                environment.kill();
                environment.exited().await;
            }
            invocation.cut();
        }
        environment.forget(&invocation);
        let request_id = invocation.request_id.clone();
        let ended = Ended::new(
            self.name(),
            request_id.clone(),
            status,
            started.elapsed(),
            held.init,
            memory,
        );
        if !self.0.spec.is_quiet {
            eprintln!("END RequestId: {request_id}\n{}", ended.line());
        }
        // Whoever sees it frozen finds it booked.
        self.0.report.ended(ended);
        self.release(&held);
        status
    }

    /// Takes an idle environment, the newest first, or starts another. While a managed one starts, or
    /// starts again, all wait for it.
    async fn acquire(&self) -> Result<Held, NoAnswer> {
        let id = loop {
            let started = self.0.started.notified();
            match self.claim() {
                Claim::Idle(held) => return Ok(held),
                Claim::Place(id) => break id,
                Claim::Starting => started.await,
                Claim::Nothing => {
                    self.0.report.throttle(self.name());
                    return Err(NoAnswer::Throttled);
                }
            }
        };
        let environment = Environment::start(&self.0.spec).await;
        let held = match environment {
            Ok(environment) => {
                self.0.report.cold_start(self.name());
                let environment = Arc::new(environment);
                self.with_entry(id, |entry| entry.environment = Some(environment.clone()));
                Ok(Held {
                    entry: id,
                    init: Some(environment.init),
                    environment,
                })
            }
            Err(error) => {
                eprintln!(
                    "INIT_REPORT Status: error\tFunction: {}\t{error}",
                    self.name()
                );
                self.entries().retain(|entry| entry.id != id);
                Err(error)
            }
        };
        self.0.started.notify_waiters();
        held
    }

    fn claim(&self) -> Claim {
        let mut entries = self.entries();
        let concurrency = self.0.spec.concurrency;
        let free = entries.iter_mut().rev().find(|entry| {
            let alive = entry
                .environment
                .as_ref()
                .is_some_and(|process| process.is_alive());
            alive && entry.busy < concurrency
        });
        if let Some(entry) = free
            && let Some(environment) = entry.environment.clone()
        {
            entry.busy += 1;
            let first = !std::mem::replace(&mut entry.paid, true);
            return Claim::Idle(Held {
                entry: entry.id,
                init: first.then_some(environment.init),
                environment,
            });
        }
        entries.retain(|entry| {
            entry
                .environment
                .as_ref()
                .is_none_or(|process| process.is_alive())
        });
        if entries.len() < self.0.max_environments {
            let id = rand::random();
            entries.push(Entry {
                id,
                environment: None,
                busy: 1,
                paid: true,
            });
            return Claim::Place(id);
        }
        if self.is_managed() && entries.iter().any(|entry| entry.environment.is_none()) {
            Claim::Starting
        } else {
            Claim::Nothing
        }
    }

    /// Gives an environment back: frozen, until it is needed again.
    fn release(&self, held: &Held) {
        if !held.environment.is_alive() {
            self.entries().retain(|entry| entry.id != held.entry);
            return;
        }
        if !self.is_managed() {
            held.environment.freeze();
        }
        self.with_entry(held.entry, |entry| entry.busy -= 1);
    }

    fn is_managed(&self) -> bool {
        self.0.spec.concurrency > 1
    }

    fn with_entry(&self, id: u64, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.entries().iter_mut().find(|entry| entry.id == id) {
            change(entry);
        }
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0
            .environments
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
