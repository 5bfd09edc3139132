//! When a track has come to its end.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    execution::{Event, Status},
    log::Head,
};

/// How far a track is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It has not ended.
    Open,
    /// The run has ended, tests of it have not: it goes on until they have, at most until then.
    Settling(Instant),
    /// Nothing will follow, unless it is opened again.
    Over,
}

impl End {
    /// The end of a track by its execution, which has been over for so long.
    fn of(status: Status, open_tests: u32, over_for: Duration, settle: Duration) -> Self {
        if !status.is_terminal() {
            return End::Open;
        }
        match settle.checked_sub(over_for) {
            Some(left) if open_tests > 0 && !left.is_zero() => End::Settling(Instant::now() + left),
            _ => End::Over,
        }
    }

    /// The end of a track that stands so.
    pub(super) fn of_head(head: &Head, settle: Duration) -> Self {
        Self::of(head.status, head.open_tests, head.ended_for, settle)
    }

    /// What becomes of it by a later event: who settles, goes on doing so.
    pub(super) fn then(self, event: &Event, settle: Duration) -> Self {
        match (
            self,
            End::of(event.status, event.open_tests, Duration::ZERO, settle),
        ) {
            (End::Settling(until), End::Settling(_)) => End::Settling(until),
            (_, end) => end,
        }
    }
}
