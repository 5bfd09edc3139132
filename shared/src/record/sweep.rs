//! Looking for executions of which nothing is heard any more.

use std::collections::BTreeMap;

use super::{Execution, Executions, NewEvent, Record, Rules, execution::Silence};
use crate::execution::{JobState, Key, State, Status, TestState, Timestamp, common};

/// What a sweep found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// How many have become stale.
    pub stale: usize,
    /// How many were given up.
    pub given_up: usize,
}

/// Looks at these executions: whoever was silent for too long is stale, for twice as long has ended.
/// What is not among `executions` (another worker has it locked), or whose run is not, is left for
/// the next time.
pub fn sweep(keys: &[Key], executions: &mut Executions, rules: &Rules) -> (Vec<NewEvent>, Swept) {
    let mut record = Record {
        executions,
        rules,
        events: Vec::new(),
        untold: BTreeMap::new(),
        traceparent: None,
    };
    // Their run may have ended while this, or another sweep, had them locked.
    record.end_stragglers();
    let mut swept = Swept::default();
    for key in keys {
        record.look(key, &mut swept);
    }
    record.tell_runs();
    (record.events, swept)
}

impl Record<'_> {
    fn look(&mut self, key: &Key, swept: &mut Swept) {
        let Some(mut execution) = self.executions.get(key).cloned() else {
            return;
        };
        let mut run = match execution.run_key() {
            Some(run) => match self.executions.get(&run) {
                Some(run) => Some(run.clone()),
                None => return,
            },
            None => None,
        };
        let now = self.rules.now;
        // It is looked at: by whatever it was to be looked at, is over.
        execution.look_at = None;
        let counted = execution.counted();
        let event_id = match execution.silence(now, self.rules.stalled_after) {
            Silence::Dead(seconds) => {
                swept.given_up += 1;
                execution.give_up(seconds, now);
                if execution.ends_its_tests() {
                    self.end_tests(&mut execution);
                }
                Some("given up")
            }
            Silence::Stale if !*common!(&execution.state, stale) => {
                swept.stale += 1;
                *common!(&mut execution.state, stale) = true;
                if let Some(heard_at) = execution.private.heard_at {
                    execution.occurred(heard_at);
                }
                Some("stale")
            }
            Silence::Stale | Silence::Short => None,
        };
        if execution.is_open() {
            execution.schedule(self.rules.stalled_after);
        }
        if let Some(event_id) = event_id {
            execution.advance(self.rules.stalled_after);
            if let Some(run) = &mut run {
                execution.follow(run);
            }
            // No producer's own: theirs have no space.
            let event_id = format!("{event_id} {}", execution.state.seq());
            self.tell(&execution, event_id, now);
        }
        if let Some(mut run) = run {
            self.count(&mut run, Some(counted), &execution, false);
            self.executions.insert(run.key(), run);
        }
        self.executions.insert(key.clone(), execution);
    }
}

impl Execution {
    fn give_up(&mut self, seconds: u32, now: Timestamp) {
        self.private.given_up_after = Some(seconds);
        let why = format!("nothing was heard of it for {seconds} s");
        self.end(Status::Error, Some(why), now);
    }
}
