//! What outlives `runcast up` for a moment: when its parent is gone, however it went, the reaper
//! ends every process of the stack and removes its folder.
//!
//! It leads the process group of all that the stack starts, and learns of its parent's death by
//! the end of its standard input.

use std::{
    path::PathBuf,
    process::{ExitCode, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::{getpgid, getpgrp},
};
use tokio::signal::unix::{SignalKind, signal};

use crate::{Error, postgres, process};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The stack's folder
    state_dir: PathBuf,
    /// Remove the folder in the end
    #[arg(long)]
    remove: bool,
}

/// A running reaper. Dropped, it ends the stack.
pub(crate) struct Reaper {
    /// The process group to start processes in.
    pub(crate) group: i32,
    _child: tokio::process::Child,
}

impl Reaper {
    pub(crate) fn start(state_dir: &std::path::Path, remove: bool) -> Result<Self, Error> {
        let mut command = tokio::process::Command::new(std::env::current_exe()?);
        command.arg("reaper").arg(state_dir);
        if remove {
            command.arg("--remove");
        }
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Reaper {
            group: process::pid(&child)?.as_raw(),
            _child: child,
        })
    }
}

/// Waits for the parent's end, then ends the stack.
pub(crate) async fn run(options: &Options) -> Result<ExitCode, Error> {
    // A group that loses its parent while some of it is frozen gets SIGHUP (POSIX, `_exit`). It
    // must not end the reaper before its work is done.
    let _hangup = signal(SignalKind::hangup())?;
    process::stdin_ended().await;
    // Postgres ends in order, and frees its shared memory, where it is asked to. The file that tells
    // its pid outlives a crash: by then, the pid may be anyone's.
    if let Some(pid) = postgres::pid(&options.state_dir)
        && getpgid(Some(pid)) == Ok(getpgrp())
    {
        process::signal(pid, Signal::SIGCONT);
        process::signal(pid, Signal::SIGINT);
        for _ in 0..50 {
            if kill(pid, None).is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    if options.remove {
        let _ = std::fs::remove_dir_all(&options.state_dir);
    }
    // Everything else, and this process too.
    killpg(getpgrp(), Signal::SIGKILL)?;
    Ok(ExitCode::SUCCESS)
}
