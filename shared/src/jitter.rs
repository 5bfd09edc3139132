//! Waits out of step: what began together shall not come back together.

use std::time::Duration;

use rand::RngExt;

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
