//! The shards of a run: parts that report for themselves.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    execution::{Progress, ShardCounts, Status, Timestamp},
    update::{Patch, Shard, Update},
};

/// How the shards of a run stand, in its present attempt.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Shards {
    /// How many there are; 0 where none was named.
    total: u32,
    /// Those that have reported, by index.
    reported: BTreeMap<u32, ShardState>,
}

/// How one of them stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShardState {
    pub(super) status: Status,
    /// When its last status occurred, where its producer said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) said_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    progress: Option<Progress>,
}

impl Shards {
    pub(super) fn is_empty(&self) -> bool {
        self.total == 0
    }

    pub(super) fn of(&self, index: u32) -> Option<&ShardState> {
        self.reported.get(&index)
    }

    /// Notes how one of them stands.
    pub(super) fn note(&mut self, shard: Shard, update: &Update, status: Status, at: Timestamp) {
        self.total = self.total.max(shard.total);
        let unreported = || ShardState {
            status,
            said_at: None,
            ended_at: None,
            progress: None,
        };
        let known = self.reported.entry(shard.index).or_insert_with(unreported);
        known.status = status;
        known.said_at = update.occurred_at.or(known.said_at);
        match &update.fields.progress {
            Patch::Keep => {}
            Patch::Clear => known.progress = None,
            Patch::Set(progress) => known.progress = Some(progress.clone()),
        }
        if status.is_terminal() {
            let completed_at = match &update.fields.completed_at {
                Patch::Set(completed_at) => *completed_at,
                Patch::Keep | Patch::Clear => at,
            };
            known.ended_at = Some(completed_at);
        }
    }

    pub(super) fn counts(&self) -> ShardCounts {
        let ended = self.reported.values().filter(|it| it.status.is_terminal());
        ShardCounts {
            total: self.total,
            ended: u32::try_from(ended.count()).unwrap_or(u32::MAX),
        }
    }

    /// How the run stands by them: once each has ended, by the worst of them.
    pub(super) fn status(&self, is_running: bool) -> Status {
        let counts = self.counts();
        let statuses = || self.reported.values().map(|shard| shard.status);
        if counts.ended == counts.total {
            return statuses()
                .max_by_key(|status| badness(*status))
                .unwrap_or(Status::Running);
        }
        if is_running || statuses().any(|status| status != Status::Waiting) {
            Status::Running
        } else {
            Status::Waiting
        }
    }

    /// How far they are together, where any says; what is in all is known when each has said it.
    pub(super) fn progress(&self) -> Option<Progress> {
        let mut said = self
            .reported
            .values()
            .filter_map(|shard| shard.progress.as_ref());
        let first = said.next()?.clone();
        let mut count = 1;
        let sum = said.fold(first, |sum, more| {
            count += 1;
            Progress {
                completed: sum.completed.saturating_add(more.completed),
                total: sum.total.zip(more.total).map(|(a, b)| a.saturating_add(b)),
                message: more.message.clone().or(sum.message),
            }
        });
        let total = sum.total.filter(|_| count == self.total);
        Some(Progress { total, ..sum })
    }

    /// When the last of those that ended did.
    pub(super) fn last_end(&self) -> Option<Timestamp> {
        self.reported
            .values()
            .filter_map(|shard| shard.ended_at)
            .max()
    }
}

/// How bad an end is: the worst of a run's shards is the run's.
fn badness(status: Status) -> u8 {
    match status {
        Status::Waiting | Status::Running => 0,
        Status::Skipped => 1,
        Status::Completed => 2,
        Status::Passed => 3,
        Status::Cancelled => 4,
        Status::Failed => 5,
        Status::Error => 6,
    }
}
