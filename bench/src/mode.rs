//! The ways in which streams are served.

use integration::stack::Stack;

/// The most streams that Lambda lets one environment take.
pub(crate) const MOST: usize = 1600;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A process for each stream.
    Plain,
    /// One process for all, as on Lambda Managed Instances.
    Managed,
    /// One process for all, without Lambda: `runcast-server`.
    Served,
}

impl Mode {
    /// As figures name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Mode::Plain => "a process a stream",
            Mode::Managed => "managed",
            Mode::Served => "served",
        }
    }

    /// A stack with room for so many streams.
    pub(crate) async fn stack(self, streams: usize, variables: &[(&str, &str)]) -> Stack {
        let variables = [&[("RUST_LOG", "warn")], variables].concat();
        let streams = streams.to_string();
        match self {
            Mode::Plain => Stack::with(&["--max-environments", &streams], &variables).await,
            Mode::Managed => Stack::with(&["--managed", &streams], &variables).await,
            Mode::Served => Stack::served(&[], &variables).await,
        }
    }
}

/// The process that serves all streams.
pub(crate) async fn server_of(stack: &Stack) -> nix::unistd::Pid {
    match stack.pids("job-status").await.first() {
        Some(pid) => *pid,
        None => stack.pid(),
    }
}
