//! Waits out of step: what began together shall not come back together.

use std::time::Duration;

use backon::ExponentialBuilder;
use rand::RngExt;

/// The waits between tries to reach a server.
pub(crate) fn backoff() -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(2))
        .with_jitter()
        .without_max_times()
}

/// 80 to 100 % of a duration.
#[must_use]
pub(crate) fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(rand::rng().random_range(0.8..1.0))
}

/// Some part of a duration.
#[must_use]
pub(crate) fn within(duration: Duration) -> Duration {
    duration.mul_f64(rand::rng().random())
}
