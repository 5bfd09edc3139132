//! The statistics as clients get them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config;

/// What is counted, by the queues' names.
pub(super) type Numbers = BTreeMap<String, Counts>;

/// What is counted of one queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counts {
    pub(super) waiting: u64,
    pub(super) active: u64,
    pub(super) delayed: u64,
    pub(super) prioritized: u64,
    pub(super) paused: u64,
    pub(super) completed: u64,
    pub(super) failed: u64,
}

/// The statistics as clients get them.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Statistics<'a> {
    running: u64,
    running_capacity: u64,
    queued: u64,
    queued_capacity: u64,
    queues: BTreeMap<&'a str, Counts>,
}

impl<'a> Statistics<'a> {
    pub(super) fn new(settings: &config::Queues, queues: BTreeMap<&'a str, Counts>) -> Self {
        let total = |count: fn(&Counts) -> u64| queues.values().map(count).sum::<u64>();
        let active = total(|queue| queue.active);
        let running = active.min(settings.running_capacity);
        let behind =
            total(|queue| queue.waiting + queue.prioritized + queue.delayed + queue.paused);
        Statistics {
            running,
            running_capacity: settings.running_capacity,
            queued: behind + (active - running),
            queued_capacity: settings.queued_capacity,
            queues,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_active_beyond_the_capacity_counts_as_queued() {
        let env = [
            ("REDIS_URL", "redis://localhost"),
            ("RUNNING_CAPACITY", "5"),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let settings = config::Queues::from_env(&env.into_iter().collect()).unwrap();
        let counts = Counts {
            waiting: 1,
            active: 4,
            delayed: 2,
            prioritized: 3,
            paused: 4,
            completed: 100,
            failed: 100,
        };
        let queues = ["a", "b"].map(|name| (name, counts));
        let statistics = Statistics::new(&settings, queues.into_iter().collect());
        assert_eq!((statistics.running, statistics.queued), (5, 23));
    }
}
