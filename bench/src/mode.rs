//! The two ways in which Lambda runs the streaming functions.

use integration::stack::Stack;

/// The most streams that Lambda lets one environment take.
pub(crate) const MOST: usize = 1600;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A process for each stream.
    Plain,
    /// One process for all, as on Lambda Managed Instances.
    Managed,
}

impl Mode {
    /// As figures name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Mode::Plain => "a process a stream",
            Mode::Managed => "managed",
        }
    }

    /// A stack with room for so many streams.
    pub(crate) async fn stack(self, streams: usize, variables: &[(&str, &str)]) -> Stack {
        let option = match self {
            Mode::Plain => "--max-environments",
            Mode::Managed => "--managed",
        };
        let variables = [&[("RUST_LOG", "warn")], variables].concat();
        Stack::with(&[option, &streams.to_string()], &variables).await
    }
}
