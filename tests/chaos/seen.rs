//! What a viewer saw.

use std::collections::BTreeMap;

use eventsource_stream::Event;
use serde_json::Value;
use shared::execution::Kind;

/// What one viewer saw of one kind: each execution's states, in the order in which they came.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) states: BTreeMap<String, Vec<Value>>,
    /// The ids that came with states, as numbers: of a project's stream each is its number there.
    pub(crate) numbers: Vec<u64>,
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
        if event.id.is_empty() {
            return;
        }
        self.numbers.extend(event.id.parse::<u64>().ok());
        self.last_event_id = Some(event.id.clone());
        for (id, state) in self.uncovered.drain(..) {
            self.states.entry(id).or_default().push(state);
        }
    }

    /// The connection broke.
    pub(crate) fn forget_uncovered(&mut self) {
        self.uncovered.clear();
    }

    /// The last number of a project's stream.
    pub(crate) fn number(&self) -> u64 {
        self.numbers.last().copied().unwrap_or_default()
    }

    /// How far its last id says that it is, in each of the executions that it asked for.
    pub(crate) fn positions(&self) -> Vec<u64> {
        let id = self.last_event_id.as_deref().unwrap_or_default();
        id.split(',').filter_map(|part| part.parse().ok()).collect()
    }
}
