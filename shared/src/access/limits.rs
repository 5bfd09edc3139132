//! Limits, counted in Redis: how often a subject connects and how many streams it holds, and how
//! often one source address tries without a valid token.
//!
//! Where Redis is away they let everyone in, and that is counted: status matters more.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv6Addr},
    sync::LazyLock,
    time::Duration,
};

use redis::Script;
use ring::digest::{SHA256, digest};
use thiserror::Error;
use tokio::time::sleep;

use super::grant::Grant;
use crate::{bus::Bus, config, execution::Id, jitter::jittered};

static ADMIT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("limits/admit.lua")));
static LEASE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("limits/lease.lua")));

/// How many heartbeats a lease outlives its last renewal: a function that was killed gives its
/// streams back after them.
const LEASE_HEARTBEATS: u32 = 3;

/// The limits of one process's callers.
#[derive(Clone, Debug)]
pub struct Limits {
    bus: Bus,
    settings: config::Limits,
    heartbeat: Duration,
}

/// A limit is reached.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Limited {
    /// By a subject that connects too often, or an address that tries too often.
    #[error("Too many connections in a short time: try again later.")]
    Tries {
        /// When the next one is let in.
        retry_after: Duration,
    },
    /// By a subject that holds too many streams.
    #[error("Too many open streams: close one, or watch several executions on one stream.")]
    Streams {
        /// When the first of them ends, should it not be renewed.
        retry_after: Duration,
    },
}

/// An open stream's place among its subject's. It ends by itself where it is neither renewed nor
/// released, as when Lambda kills the function.
#[derive(Debug)]
pub struct Lease {
    limits: Limits,
    key: String,
    stream_id: Id,
}

impl Limits {
    /// Limits counted in the Redis of this bus.
    #[must_use]
    pub fn new(bus: Bus, settings: config::Limits, heartbeat: Duration) -> Self {
        Limits {
            bus,
            settings,
            heartbeat,
        }
    }

    /// Lets a subject open a stream.
    ///
    /// # Errors
    /// Where it connects too often, or holds too many.
    pub async fn admit(&self, grant: &Grant, stream_id: &Id) -> Result<Lease, Limited> {
        let who = format!("{}\0{}", grant.organization_id, grant.subject);
        let slot = slot("subject", &who);
        let lease = Lease {
            limits: self.clone(),
            key: format!("{slot}:streams"),
            stream_id: stream_id.clone(),
        };
        let arguments = [
            self.settings.connects_per_minute.to_string(),
            self.settings.streams_per_subject.to_string(),
            stream_id.to_string(),
            self.lease().as_millis().to_string(),
        ];
        let keys = [format!("{slot}:tries"), lease.key.clone()];
        self.ask(&keys, &arguments).await.map(|()| lease)
    }

    /// Counts a try without a valid token.
    ///
    /// # Errors
    /// Where this address tries too often.
    pub async fn count_failed_try(&self, source: IpAddr) -> Result<(), Limited> {
        let keys = [format!("{}:tries", slot("source", &neighbourhood(source)))];
        let arguments = [self.settings.connects_per_minute.to_string()];
        self.ask(&keys, &arguments).await
    }

    async fn ask(&self, keys: &[String], arguments: &[String]) -> Result<(), Limited> {
        let (limit, wait_ms): (String, u64) = match self.bus.eval(&ADMIT, keys, arguments).await {
            Ok(answer) => answer,
            Err(_) => {
                metrics::counter!("LimitsSkipped").increment(1);
                return Ok(());
            }
        };
        let retry_after = Duration::from_millis(wait_ms);
        let limited = match limit.as_str() {
            "tries" => Limited::Tries { retry_after },
            "streams" => Limited::Streams { retry_after },
            _ => return Ok(()),
        };
        metrics::counter!("LimitsHit", "Limit" => limit).increment(1);
        Err(limited)
    }

    fn lease(&self) -> Duration {
        self.heartbeat * LEASE_HEARTBEATS
    }
}

impl Limited {
    /// After how long a try may succeed.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        match self {
            Limited::Tries { retry_after } | Limited::Streams { retry_after } => *retry_after,
        }
    }
}

impl Lease {
    /// Renews it with the heartbeat, for as long as it is polled.
    pub async fn keep(&self) -> Infallible {
        loop {
            sleep(jittered(self.limits.heartbeat)).await;
            self.set(self.limits.lease()).await;
        }
    }

    /// Gives the place back.
    pub async fn release(&self) {
        self.set(Duration::ZERO).await;
    }

    async fn set(&self, lease: Duration) {
        let arguments = [self.stream_id.to_string(), lease.as_millis().to_string()];
        // Where Redis is away, nobody is counted.
        let keys = [self.key.clone()];
        let set = self.limits.bus.eval::<i64>(&LEASE, &keys, &arguments);
        // In a box: it is large, and a stream that holds a lease waits nearly all of its life.
        let _ = Box::pin(set).await;
    }
}

/// What the keys of one subject or address begin with. The braces put them into one slot of a
/// cluster; the hash keeps names out of Redis, and bounds their length.
fn slot(scope: &str, who: &str) -> String {
    let hash = digest(&SHA256, who.as_bytes());
    let hash = u128::from_be_bytes(*hash.as_ref().first_chunk().unwrap_or(&[0; 16]));
    format!("limit:{{{scope}:{hash:032x}}}")
}

/// The address, or the /64 that it is in: that is what one customer of a provider has.
fn neighbourhood(source: IpAddr) -> String {
    match source.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_counts_as_its_neighbourhood() {
        let of = |text: &str| neighbourhood(text.parse().unwrap());
        assert_eq!(of("192.0.2.7"), "192.0.2.7");
        assert_eq!(of("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(of("2001:db8:0:1:2:3:4:5"), "2001:db8:0:1::");
    }

    #[test]
    fn keys_of_one_subject_share_a_slot_and_hide_it() {
        let key = slot("subject", "acme\0ann@example.com");
        assert!(
            key.starts_with("limit:{subject:") && key.ends_with('}'),
            "{key}"
        );
        assert!(!key.contains("ann"));
    }
}
