//! What a viewer saw.

use std::collections::BTreeMap;

use eventsource_stream::Event;
use serde_json::Value;
use shared::execution::Kind;

/// What one viewer saw of one kind: each execution's states, in the order in which they came.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) states: BTreeMap<String, Vec<Value>>,
    /// The ids that came with states, as numbers: of a run's or a project's stream each is its number there.
    pub(crate) numbers: Vec<u64>,
    /// What was seen before the stream began anew, of a log with another epoch.
    pub(crate) before: Vec<Seen>,
    /// The epoch of the last id.
    epoch: Option<u64>,
    pub(crate) last_event_id: Option<String>,
    /// What came since the last id: it is not covered by it, and comes again after a break.
    uncovered: Vec<(String, Value)>,
}

impl Seen {
    /// Nothing yet, of what comes after this id.
    pub(crate) fn after(last_event_id: Option<String>) -> Self {
        Seen {
            last_event_id,
            ..Seen::default()
        }
    }

    pub(crate) fn take(&mut self, event: &Event, kind: Kind) {
        let state: Value = serde_json::from_str(&event.data).unwrap();
        let id = state[kind.id_name()].as_str().unwrap().to_owned();
        self.uncovered.push((id, state));
        // WHATWG: what has no id of its own shows the last one, be it from before a reset.
        let replaced = self.before.last().and_then(|it| it.last_event_id.as_ref());
        if event.id.is_empty() || replaced == Some(&event.id) {
            return;
        }
        let (number, epoch) = event.id.split_once('.').unwrap_or((&event.id, "0"));
        let epoch = epoch.split(',').next().and_then(|epoch| epoch.parse().ok());
        assert!(
            self.epoch.is_none() || self.epoch == epoch,
            "another epoch than {:?} without a reset: {}, {}",
            self.last_event_id,
            event.id,
            event.data
        );
        // Who has seen nothing yet, is of any.
        let is_of_any = event
            .id
            .split(',')
            .all(|part| part.split('.').next() == Some("0"));
        self.epoch = epoch.filter(|_| !is_of_any);
        self.numbers.extend(number.parse::<u64>().ok());
        self.last_event_id = Some(event.id.clone());
        for (id, state) in self.uncovered.drain(..) {
            self.states.entry(id).or_default().push(state);
        }
    }

    /// The stream begins anew, for which there is one reason here: a standby took over.
    pub(crate) fn start_over(&mut self) {
        assert!(
            self.before.is_empty(),
            "nothing was pruned, and one standby took over"
        );
        let before = std::mem::take(self);
        self.before.push(before);
    }

    /// The connection broke.
    pub(crate) fn forget_uncovered(&mut self) {
        self.uncovered.clear();
    }

    /// The last number of a run's or a project's stream.
    pub(crate) fn number(&self) -> u64 {
        self.numbers.last().copied().unwrap_or_default()
    }

    /// How far its last id says that it is, in each of the executions that it asked for.
    pub(crate) fn positions(&self) -> Vec<u64> {
        let id = self.last_event_id.as_deref().unwrap_or_default();
        let position = |part: &str| part.split('.').next()?.parse().ok();
        id.split(',').filter_map(position).collect()
    }
}
