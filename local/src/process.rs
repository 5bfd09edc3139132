//! Processes: their ids, signals to them, and the end of the one that started this.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::process::Child;

use crate::Error;

/// The process's id.
pub(crate) fn pid(child: &Child) -> Result<Pid, Error> {
    let id = child.id().ok_or("the process has ended already")?;
    Ok(Pid::from_raw(i32::try_from(id)?))
}

/// Sends a signal; a process that is gone needs none.
pub(crate) fn signal(pid: Pid, signal: Signal) {
    let _ = kill(pid, signal);
}

/// Waits for the end of stdin, in a thread that nobody waits for.
pub(crate) async fn stdin_ended() {
    let (ended, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        ended.send(())
    });
    let _ = told.await;
}
