//! What only the server is told.

use std::{net::SocketAddr, time::Duration};

use shared::config::{ConfigError, Env};

/// `LISTEN` (`0.0.0.0:8080`): where it is served.
///
/// # Errors
/// Where it is no address.
pub(crate) fn listen(env: &Env) -> Result<SocketAddr, ConfigError> {
    match env.get("LISTEN") {
        None => Ok(SocketAddr::from(([0, 0, 0, 0], 8080))),
        Some(_) => env.required(
            "LISTEN",
            "an address and a port, like 0.0.0.0:8080",
            |text| text.parse().ok(),
        ),
    }
}

/// The server's own variables; all others are those of the functions.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// `SHUTDOWN_GRACE_SECONDS` (25): over how long its streams end, once it is asked to end.
    pub(crate) grace: Duration,
    /// `SWEEP_SECONDS` (60): how often it looks for executions of which nothing is heard; 0: never.
    pub(crate) sweep_every: Option<Duration>,
    /// `PROXIES` (0): how many proxies stand before it, each of which appends to `X-Forwarded-For`.
    pub(crate) proxies: usize,
    /// `DATABASE_CONNECTIONS` (8): how many connections to Postgres its streams, and as many its
    /// updates, hold at most.
    pub(crate) connections: usize,
}

impl Config {
    /// Reads the variables.
    ///
    /// # Errors
    /// Where one has a value that it does not take.
    pub(crate) fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let number = |variable, default: u64, range: std::ops::RangeInclusive<u64>| {
            let takes = format!("a number from {} to {}", range.start(), range.end());
            match env.get(variable) {
                None => Ok(default),
                Some(_) => env.required(variable, &takes, |text| {
                    text.parse().ok().filter(|number| range.contains(number))
                }),
            }
        };
        let sweep_every = number("SWEEP_SECONDS", 60, 0..=3600)?;
        let proxies = number("PROXIES", 0, 0..=10)?;
        let connections = number("DATABASE_CONNECTIONS", 8, 1..=1000)?;
        Ok(Config {
            grace: Duration::from_secs(number("SHUTDOWN_GRACE_SECONDS", 25, 0..=3600)?),
            sweep_every: (sweep_every > 0).then(|| Duration::from_secs(sweep_every)),
            proxies: usize::try_from(proxies).unwrap_or_default(),
            connections: usize::try_from(connections).unwrap_or(1),
        })
    }
}
