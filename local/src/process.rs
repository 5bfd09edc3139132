//! Processes of the stack: started in the guard's group, signalled by their id.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::process::Child;

use crate::{Error, server::PATIENCE};

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

/// The checkout that this binary was built from: where `make setup` put the servers.
pub(crate) fn checkout() -> PathBuf {
    let local = Path::new(env!("CARGO_MANIFEST_DIR"));
    local.parent().unwrap_or(local).to_owned()
}

/// The first path that exists, or an error that says what to do.
pub(crate) fn find(what: &str, candidates: &[PathBuf]) -> Result<PathBuf, Error> {
    let found = candidates.iter().find(|path| path.exists()).cloned();
    found.ok_or_else(|| {
        let looked = candidates.first().map(|path| path.display().to_string());
        let looked = looked.unwrap_or_default();
        format!("{what} is not installed (looked for {looked}): run `make setup`").into()
    })
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
