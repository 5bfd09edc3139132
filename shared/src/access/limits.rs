//! Limits, counted in Redis: how often a subject connects, how many streams it holds and how many
//! updates it sends, and how often one source address tries without a valid token.
//!
//! **Places.** Who comes is let in: a page that was reloaded, or a laptop that slept, left streams
//! behind that Lambda never misses, and a 429 would end a plain `EventSource` for good. Where all
//! places are taken, another stream ends instead, so that their number, and the bill, stay:
//!
//! - The one that was opened first. Whoever lives comes back after every window, and after every
//!   break, and is young then; what nobody reads any more only grows older. (Its lease says
//!   nothing: the function goes on renewing it.)
//! - For one that resumes, before all others, the oldest that watches the same: that is nearly
//!   always the one it had. So those that drop together, or whose function is killed, take back
//!   their own places, and not those of older streams that live.
//!
//! A place is taken when the stream begins, not when it is asked for: who is refused (404, 503) or
//! has nothing left to watch (204) evicts nobody.
//!
//! **Nobody is evicted in a circle.** A stream that is evicted says `closed`, after which clients
//! don't come back; but an `EventSource` whose page does not listen for it does, and would evict the
//! next. So that last frame has an id, [`EVICTED`], which such a client returns as its
//! `Last-Event-ID`: the answer is 204, which ends it. Whoever is too many is told once.
//!
//! **Rate.** 429 is only for connecting too often. Who resumes (after a planned rotation, or when
//! the network dropped all at once) is counted apart, so that it cannot use up what new
//! connections need: anyone can say that it resumes, so that has a bound, too.
//!
//! Where Redis is away they let everyone in, and that is counted: status matters more.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use redis::{RedisResult, Script};
use ring::digest::{SHA256, digest};
use thiserror::Error;
use tokio::time::sleep;

use super::grant::Grant;
use crate::{
    bus::Bus,
    config,
    execution::Id,
    jitter::jittered,
    watch::{Channel, EVICTED},
};

static ADMIT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("limits/admit.lua")));
static PLACE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("limits/place.lua")));

/// After how many heartbeats a lease is renewed.
const RENEWAL_HEARTBEATS: u32 = 3;

/// How many it lasts, so that one renewal may fail: a function that was killed gives its streams' places
/// back after them.
const LEASE_HEARTBEATS: u32 = 7;

/// How often all of a subject's streams may break and resume in a minute, beside their rotations.
const BREAKS_PER_MINUTE: u64 = 6;

/// How many streams one source may end in a minute: an office behind one address has many viewers.
const CLOSES_PER_MINUTE: u64 = 3_000;

/// What is counted by the minute.
struct Rate {
    /// The end of its keys, and its name in the metrics.
    name: &'static str,
    what: &'static str,
}

const TRIES: Rate = Rate {
    name: "tries",
    what: "connections",
};
const RESUMES: Rate = Rate {
    name: "resumes",
    what: "connections",
};
const UPDATES: Rate = Rate {
    name: "updates",
    what: "updates",
};
const CLOSES: Rate = Rate {
    name: "closes",
    what: "requests to end a stream",
};

/// The limits of one process's callers.
#[derive(Clone, Debug)]
pub struct Limits {
    bus: Bus,
    settings: config::Limits,
    heartbeat: Duration,
    resumes_per_minute: u64,
}

/// A subject connects or sends too often, or an address tries too often.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("Too many {what} in a short time: try again later.")]
pub struct Limited {
    /// Of what there was too much.
    pub what: &'static str,
    /// When the same is let in.
    pub retry_after: Duration,
}

/// How a stream begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// For a client that had none, as far as it says.
    New,
    /// For a client that says where its former one ended.
    Resumed,
}

/// An open stream's place among its subject's. It ends by itself where it is neither kept nor
/// released, as when Lambda kills the function.
#[derive(Debug)]
pub struct Place {
    limits: Limits,
    key: String,
    name: String,
    beginning: Beginning,
}

impl Limits {
    /// Limits counted in the Redis of this bus.
    #[must_use]
    pub fn new(bus: Bus, settings: config::Limits, streams: &config::Streams) -> Self {
        Limits {
            resumes_per_minute: resumes_per_minute(&settings, streams.window),
            bus,
            settings,
            heartbeat: streams.heartbeat,
        }
    }

    /// Lets a subject connect.
    ///
    /// # Errors
    /// Where it does so too often.
    pub async fn admit(&self, grant: &Grant, beginning: Beginning) -> Result<(), Limited> {
        let prefix = subject(grant);
        match beginning {
            Beginning::New => {
                let most = self.settings.connects_per_minute;
                self.count(&TRIES, &prefix, 1, most).await
            }
            Beginning::Resumed => {
                self.count(&RESUMES, &prefix, 1, self.resumes_per_minute)
                    .await
            }
        }
    }

    /// Lets a subject send so many updates.
    ///
    /// # Errors
    /// Where it sends too many.
    pub async fn admit_updates(&self, grant: &Grant, count: usize) -> Result<(), Limited> {
        let most = self.settings.updates_per_minute;
        self.count(&UPDATES, &subject(grant), count, most).await
    }

    /// Counts a try without a valid token.
    ///
    /// # Errors
    /// Where this address tries too often.
    pub async fn count_failed_try(&self, source: IpAddr) -> Result<(), Limited> {
        let prefix = prefix("source", &neighbourhood(source));
        let most = self.settings.connects_per_minute;
        self.count(&TRIES, &prefix, 1, most).await
    }

    /// Counts a request to end a stream, which needs no token.
    ///
    /// # Errors
    /// Where this address asks too often.
    pub async fn count_close(&self, source: IpAddr) -> Result<(), Limited> {
        let prefix = prefix("source", &neighbourhood(source));
        self.count(&CLOSES, &prefix, 1, CLOSES_PER_MINUTE).await
    }

    /// The place of a stream of these channels, which is not taken yet.
    #[must_use]
    pub fn place(
        &self,
        grant: &Grant,
        stream_id: &Id,
        channels: &[(Channel, usize)],
        beginning: Beginning,
    ) -> Place {
        let opened = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let opened = opened.unwrap_or_default().as_millis();
        let names: Vec<_> = channels.iter().map(|(channel, _)| channel.name()).collect();
        let watched = hash(&names.join(" "));
        Place {
            limits: self.clone(),
            key: format!("{}:places", subject(grant)),
            name: format!("{opened:013}:{watched}:{stream_id}"),
            beginning,
        }
    }

    async fn count(
        &self,
        rate: &Rate,
        prefix: &str,
        count: usize,
        most: u64,
    ) -> Result<(), Limited> {
        let keys = [format!("{prefix}:{}", rate.name)];
        let arguments = [most.to_string(), count.to_string()];
        match self.bus.eval::<u64>(&ADMIT, &keys, &arguments).await {
            Ok(0) => Ok(()),
            Ok(wait_ms) => {
                metrics::counter!("LimitsHit", "Limit" => rate.name).increment(1);
                Err(Limited {
                    what: rate.what,
                    retry_after: Duration::from_millis(wait_ms),
                })
            }
            Err(_) => {
                metrics::counter!("LimitsSkipped").increment(1);
                Ok(())
            }
        }
    }
}

/// How often one subject resumes in a minute. Windows are jittered, to 80 % at least, so each place
/// rotates 75 times a minute at most where they last a second.
fn resumes_per_minute(limits: &config::Limits, window: Duration) -> u64 {
    let rotations = 75_u64.div_ceil(window.as_secs().max(1));
    let resumes = limits.streams_per_subject * (rotations + BREAKS_PER_MINUTE);
    resumes.max(limits.connects_per_minute)
}

impl Place {
    /// Takes it, from another stream where all are taken, and keeps it for as long as this is
    /// polled. Returns when it was given to another in turn.
    pub async fn hold(&self) {
        let take = match self.beginning {
            Beginning::New => "take",
            Beginning::Resumed => "retake",
        };
        let mut is_taken = false;
        loop {
            let action = if is_taken { "keep" } else { take };
            // In a box: it is large, and a stream that holds a place waits nearly all of its life.
            // Where Redis is away, nobody is counted.
            if let Ok(evicted) = Box::pin(self.ask(action)).await {
                let Ok(evicted) = u64::try_from(evicted) else {
                    return;
                };
                metrics::counter!("StreamsEvicted").increment(evicted);
                is_taken = true;
            }
            sleep(jittered(self.limits.heartbeat * RENEWAL_HEARTBEATS)).await;
        }
    }

    /// Gives it back.
    pub async fn release(&self) {
        // Where Redis is away, its lease ends.
        let _ = self.ask("release").await;
    }

    async fn ask(&self, action: &str) -> RedisResult<i64> {
        let lease = self.limits.heartbeat * LEASE_HEARTBEATS;
        let arguments = [
            action.to_owned(),
            self.name.clone(),
            lease.as_millis().to_string(),
            self.limits.settings.streams_per_subject.to_string(),
            EVICTED.to_owned(),
        ];
        let keys = [self.key.clone()];
        self.limits.bus.eval(&PLACE, &keys, &arguments).await
    }
}

/// What the keys of a subject begin with.
fn subject(grant: &Grant) -> String {
    let who = format!("{}\0{}", grant.organization_id, grant.subject);
    prefix("subject", &who)
}

/// What the keys of one subject or address begin with. The braces put them into one slot of a
/// cluster; the hash keeps names out of Redis, and bounds their length.
fn prefix(scope: &str, who: &str) -> String {
    format!("limit:{{{scope}:{}}}", hash(who))
}

/// 128 bits of it.
pub(crate) fn hash(text: &str) -> String {
    let hash = digest(&SHA256, text.as_bytes());
    let hash = u128::from_be_bytes(*hash.as_ref().first_chunk().unwrap_or(&[0; 16]));
    format!("{hash:032x}")
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
    fn rotations_and_a_few_breaks_a_minute_are_within_the_rate_of_resuming() {
        let limits = |streams_per_subject| config::Limits {
            streams_per_subject,
            connects_per_minute: 120,
            updates_per_minute: 60_000,
        };
        let resumes =
            |places, window| resumes_per_minute(&limits(places), Duration::from_secs(window));
        assert_eq!(resumes(20, 120), 20 * (1 + 6));
        assert_eq!(resumes(20, 1), 20 * (75 + 6));
        // Never fewer than new ones.
        assert_eq!(resumes(1, 120), 120);
    }

    #[test]
    fn keys_of_one_subject_share_a_slot_and_hide_it() {
        let key = prefix("subject", "acme\0ann@example.com");
        assert!(
            key.starts_with("limit:{subject:") && key.ends_with('}'),
            "{key}"
        );
        assert!(!key.contains("ann"));
    }
}
