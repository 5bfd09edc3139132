//! The end of a process that is asked to end: its streams end spread over a while, so that their
//! viewers do not all come back at once.

use std::{future::pending, time::Duration};

use rand::RngExt;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// Whether, and until when, this process ends. Under Lambda it never does: that kills it between
/// invocations.
#[derive(Clone, Debug)]
pub struct Drain(watch::Sender<Option<Instant>>);

impl Default for Drain {
    fn default() -> Self {
        Drain(watch::Sender::new(None))
    }
}

impl Drain {
    /// Begins to end: every stream ends within `grace`.
    pub fn begin(&self, grace: Duration) {
        self.0.send_replace(Some(Instant::now() + grace));
    }

    /// Whether this process ends.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Returns when one stream is to end.
    pub async fn stream_ends(&self) {
        let mut begun = self.0.subscribe();
        let until = match begun.wait_for(Option::is_some).await {
            Ok(until) => *until,
            Err(_) => None,
        };
        let Some(until) = until else {
            return pending().await;
        };
        let left = until.saturating_duration_since(Instant::now());
        let share = rand::rng().random_range(0.0..1.0);
        sleep_until(Instant::now() + left.mul_f64(share)).await;
    }
}
