//! Who counts, of all processes that show the same queues.

use std::{sync::LazyLock, time::Duration};

use redis::{RedisResult, Script};

use super::statistics::Numbers;
use crate::{access::limits::hash, bus::Bus, config, stream, watch::Channel};

static SEAT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("seat.lua")));

/// For how long the seat is kept by who says nothing: some counts may fail, or be late.
pub(super) const LEASE: Duration = Duration::from_millis(2500);

/// The seat of who counts, as one process sees it.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    bus: Bus,
    /// Of those who show the same queues.
    group: String,
    /// This process.
    who: String,
}

/// Who has it.
pub(super) enum Held {
    /// This process.
    Here,
    /// Another one, which counted this last.
    Elsewhere(Option<Numbers>),
}

impl Seat {
    pub(super) fn new(settings: &config::Queues, bus: Bus) -> Self {
        let address = settings.redis.connection.expose().addr().to_string();
        let of = format!("{address} {} {}", settings.prefix, settings.names.join(","));
        Seat {
            bus,
            group: hash(&of),
            who: stream::new_id().to_string(),
        }
    }

    /// Where what is counted is told, and an empty message when the seat is free.
    pub(super) fn channel(&self) -> Channel {
        Channel::Queues(self.group.clone())
    }

    /// Takes the seat where it is free.
    pub(super) async fn take(&self) -> RedisResult<Held> {
        self.ask("take", "").await
    }

    /// Tells the others what was counted, and keeps the seat.
    pub(super) async fn tell(&self, numbers: &Numbers) -> RedisResult<Held> {
        let json = serde_json::to_string(numbers).unwrap_or_default();
        self.ask("tell", &json).await
    }

    /// Gives it to whoever wants it.
    pub(super) async fn leave(&self) {
        // Where Redis is away, its lease ends.
        let _ = self.ask("leave", "").await;
    }

    async fn ask(&self, action: &str, numbers: &str) -> RedisResult<Held> {
        // In one slot of a cluster.
        let keys = ["seat", "numbers"].map(|what| format!("queue-stats:{{{}}}:{what}", self.group));
        let arguments = [
            action.to_owned(),
            self.who.clone(),
            LEASE.as_millis().to_string(),
            self.channel().name(),
            numbers.to_owned(),
        ];
        let (is_here, last): (bool, String) = self.bus.eval(&SEAT, &keys, &arguments).await?;
        Ok(if is_here {
            Held::Here
        } else {
            Held::Elsewhere(serde_json::from_str(&last).ok())
        })
    }
}
