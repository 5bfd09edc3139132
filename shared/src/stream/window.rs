//! How long a stream lives.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::jitter::jittered;

/// When a stream ends by itself.
pub(super) struct Ends {
    pub(super) rotate_at: Instant,
    pub(super) expired_at: Instant,
}

impl Ends {
    /// The window is jittered, so that streams that began together don't return together. It ends
    /// a margin before Lambda's deadline, for the last writes: a tenth of what is left.
    pub(super) fn new(
        window: Duration,
        expires_at: SystemTime,
        deadline: Option<SystemTime>,
    ) -> Self {
        let now = Instant::now();
        let until = |time: SystemTime| {
            let left = time.duration_since(SystemTime::now()).unwrap_or_default();
            left.min(Duration::from_hours(24))
        };
        let mut window = jittered(window);
        // A deadline in the past is none: `cargo lambda watch` sends one of 1970.
        if let Some(left) = deadline.map(until).filter(|left| !left.is_zero()) {
            let margin = (left / 10).clamp(Duration::from_millis(500), Duration::from_secs(10));
            window = window.min(left.saturating_sub(margin));
        }
        Ends {
            rotate_at: now + window,
            expired_at: now + until(expires_at),
        }
    }

    pub(super) fn first(&self) -> Instant {
        self.rotate_at.min(self.expired_at)
    }

    pub(super) fn first_at(&self) -> SystemTime {
        SystemTime::now() + self.first().saturating_duration_since(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_ends_before_the_deadline_and_a_past_one_counts_as_none() {
        let minute = Duration::from_mins(1);
        let now = SystemTime::now();
        let ends = |deadline| {
            Ends::new(10 * minute, now + 100 * minute, deadline).rotate_at - Instant::now()
        };
        assert!(ends(Some(now + minute)) <= Duration::from_secs(54));
        assert!(ends(Some(SystemTime::UNIX_EPOCH)) >= 8 * minute);
        assert!(ends(None) >= 8 * minute);
    }
}
