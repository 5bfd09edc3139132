//! An embedded server: a process that can be stopped, broken for a while, and started again.

use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::{
    process::{Child, Command},
    sync::Mutex,
};

use crate::{Error, process};

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

    /// Fails where the process has ended by itself.
    pub(crate) async fn check(&self) -> Result<(), Error> {
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
        tokio::time::sleep(outage).await;
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
