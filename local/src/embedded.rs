//! An embedded server: a process that can be stopped, broken for a while, and started again.

use std::{path::Path, time::Duration};

use nix::sys::signal::Signal;
use tokio::{
    process::{Child, Command},
    sync::Mutex,
    time::{Instant, sleep, timeout_at},
};

use crate::{Error, process};

/// How long a server may take until it answers.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A server's process, and how it is started.
pub(crate) struct Server {
    name: &'static str,
    /// Ends it in order: everything is written.
    shutdown: Signal,
    /// Ends it as a crash does.
    crash: Signal,
    start: Box<dyn Fn() -> Command + Send + Sync>,
    /// Absent while it is broken.
    child: Mutex<Option<Child>>,
}

impl Server {
    /// Starts a server.
    pub(crate) fn start(
        name: &'static str,
        shutdown: Signal,
        crash: Signal,
        start: impl Fn() -> Command + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let child = start().spawn()?;
        Ok(Server {
            name,
            shutdown,
            crash,
            start: Box::new(start),
            child: Mutex::new(Some(child)),
        })
    }

    /// Asks until the server answers; fails where it has ended, or does not answer in time.
    pub(crate) async fn wait_until_ready(
        &self,
        log: &Path,
        ask: impl AsyncFn() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let log = log.display();
        let give_up = Instant::now() + PATIENCE;
        loop {
            let asked = timeout_at(give_up, ask()).await;
            let Err(error) = asked.map_err(Error::from).flatten() else {
                return Ok(());
            };
            let checked = self.check().await;
            checked.map_err(|error| format!("{error}; see {log}"))?;
            if Instant::now() >= give_up {
                return Err(format!("{} does not answer ({error}); see {log}", self.name).into());
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Fails where the process has ended by itself.
    async fn check(&self) -> Result<(), Error> {
        let mut child = self.child.lock().await;
        match child.as_mut().map(Child::try_wait).transpose()?.flatten() {
            Some(status) => Err(format!("{} ended ({status})", self.name).into()),
            None => Ok(()),
        }
    }

    /// Kills it, and starts it again after `outage`.
    pub(crate) async fn break_for(&self, outage: Duration) -> Result<(), Error> {
        // Not locked during the outage, so that the stack can be stopped in it.
        let child = self.child.lock().await.take();
        let mut child = child.ok_or_else(|| format!("{} is broken already", self.name))?;
        process::signal(process::pid(&child)?, self.crash);
        child.wait().await?;
        sleep(outage).await;
        *self.child.lock().await = Some((self.start)().spawn()?);
        Ok(())
    }

    pub(crate) async fn stop(&self) {
        let Some(mut child) = self.child.lock().await.take() else {
            return;
        };
        if let Ok(pid) = process::pid(&child) {
            process::signal(pid, Signal::SIGCONT);
            process::signal(pid, self.shutdown);
        }
        let _ = child.wait().await;
    }
}

/// Starts a server on a port of 127.0.0.1 that is free, and on another where someone was faster.
///
/// The ports are below those that the system gives to outgoing connections.
pub(crate) async fn on_a_free_port<T>(
    start: impl AsyncFn(u16) -> Result<T, Error>,
) -> Result<T, Error> {
    let give_up = Instant::now() + PATIENCE;
    let mut attempts_left = 5;
    loop {
        attempts_left -= 1;
        let port = rand::random_range(20_000..32_000);
        let free = std::net::TcpListener::bind(("127.0.0.1", port)).map(drop);
        let result = match free {
            Ok(()) => start(port).await,
            Err(error) => Err(format!("port {port} cannot be used: {error}").into()),
        };
        match result {
            Err(_) if attempts_left > 0 && Instant::now() < give_up => {}
            result => return result,
        }
    }
}

/// A random password.
pub(crate) fn password() -> String {
    format!("{:032x}", rand::random::<u128>())
}
