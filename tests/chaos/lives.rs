//! Random lives: what a producer will say, and what must become of it.

use std::time::Duration;

use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};
use shared::execution::Kind;

use crate::wave::{Name, Wave};

/// Statuses that end an attempt; the more often, the more usual.
const ENDS: [&str; 10] = [
    "passed",
    "passed",
    "passed",
    "failed",
    "failed",
    "completed",
    "error",
    "cancelled",
    "cancelled",
    "skipped",
];

/// An execution's life, as its producer will tell it.
pub(crate) struct Life {
    pub(crate) name: Name,
    /// For how many seconds it may be silent.
    pub(crate) timeout: Option<u32>,
    /// Whether nobody but its producer can end it.
    pub(crate) is_undisturbed: bool,
    pub(crate) steps: Vec<Step>,
}

/// One update.
pub(crate) struct Step {
    /// How long its producer waits before it.
    pub(crate) pause: Duration,
    pub(crate) update: Value,
    pub(crate) expected: Expected,
}

/// What becomes of an update where nobody else interferes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// It is an event.
    Event,
    /// It counts, and may be no event.
    Quiet,
    /// It comes too late.
    Rejection,
}

/// A life on its way to paper.
pub(crate) struct Script<'a> {
    wave: &'a Wave,
    run: Option<String>,
    /// From which of its updates on a test names its run.
    joins_at: usize,
    /// Whether `willRetry` has opened the present attempt.
    is_retrying: bool,
    life: Life,
    random: &'a mut StdRng,
}

impl<'a> Script<'a> {
    pub(crate) fn new(
        wave: &'a Wave,
        name: Name,
        run: Option<String>,
        random: &'a mut StdRng,
    ) -> Self {
        let timeout = random.random_bool(0.35).then(|| random.random_range(1..4));
        Script {
            wave,
            joins_at: usize::from(random.random_bool(0.15)),
            is_retrying: false,
            life: Life {
                is_undisturbed: timeout.is_none() && run.is_none(),
                name,
                timeout,
                steps: Vec::new(),
            },
            run,
            random,
        }
    }

    pub(crate) fn life(mut self) -> Life {
        let attempts = *[1, 1, 1, 2, 2, 3].choose(self.random).unwrap();
        for attempt in 1..=attempts {
            self.attempt(attempt, attempt == attempts);
        }
        if attempts > 1 && self.random.random_bool(0.2) {
            let late = json!({"status": "running", "attempt": 1});
            self.say(Expected::Rejection, late);
        }
        if self.life.timeout.is_some() && self.random.random_bool(0.4) {
            // Its producer dies.
            let said = self.random.random_range(1..=self.life.steps.len());
            self.life.steps.truncate(said);
        }
        self.life
    }

    fn attempt(&mut self, attempt: u32, is_last: bool) {
        let status = *["waiting", "running"].choose(self.random).unwrap();
        let mut first = json!({"status": status});
        if attempt > 1 && !(self.is_retrying && self.random.random()) {
            first["attempt"] = json!(attempt);
        }
        self.is_retrying = false;
        self.say(Expected::Event, first);
        if self.life.timeout.is_some() && self.random.random_bool(0.4) {
            self.is_kept_alive();
        }
        if self.life.name.kind == Kind::Job && self.random.random_bool(0.25) {
            self.shards();
            return;
        }
        self.runs();
        if !is_last && self.random.random_bool(0.2) {
            // The machine is gone: the next attempt ends this one.
            return;
        }
        let status = *ENDS.choose(self.random).unwrap();
        let mut end = json!({"status": status});
        if matches!(status, "failed" | "error") {
            let why = match self.life.name.kind {
                Kind::Job => "errorDetails",
                Kind::Test => "error",
            };
            end[why] = json!(format!("attempt {attempt} broke\nbecause"));
        }
        self.is_retrying = !is_last && self.random.random_bool(0.6);
        if self.is_retrying {
            end["willRetry"] = json!(true);
        }
        self.say(Expected::Event, end);
        if !self.is_retrying {
            self.after(json!({"status": status}));
        }
    }

    fn runs(&mut self) {
        let (least, most) = if self.wave.is_long() {
            (20, 36)
        } else {
            (1, 5)
        };
        let total = self.random.random_range(least..most);
        for completed in 0..total {
            let mut update = json!({
                "status": "running",
                "progress": {"completed": completed, "total": total},
            });
            let said = i64::try_from(self.life.steps.len()).unwrap();
            let mut expected = Expected::Event;
            match self.random.random_range(0..10) {
                0..3 => {
                    update["occurredAt"] = json!(self.wave.began_at.0.timestamp_millis() + said);
                }
                3 if completed > 0 => {
                    // Of a machine that was late: it may have nothing new to say.
                    update["occurredAt"] = json!(self.wave.began_at.0.timestamp_millis() - 60_000);
                    update["url"] = json!("https://ci.example/late");
                    expected = Expected::Quiet;
                }
                4 | 5 => self.say(Expected::Quiet, json!({"alive": true})),
                _ => {}
            }
            self.say(expected, update);
        }
    }

    /// Nothing but signs of life, for longer than it may be silent.
    fn is_kept_alive(&mut self) {
        let half = Duration::from_millis(500) * self.life.timeout.unwrap_or(1);
        for _ in 0..5 {
            self.say(Expected::Quiet, json!({"alive": true}));
            if let Some(step) = self.life.steps.last_mut() {
                step.pause = half;
            }
        }
    }

    /// Parts that report for themselves, in any order; the last one ends the run.
    fn shards(&mut self) {
        let total = self.random.random_range(2..4);
        let mut left: Vec<u32> = (1..=total).flat_map(|index| [index, index]).collect();
        let mut last = json!(null);
        while !left.is_empty() {
            let index = left.swap_remove(self.random.random_range(0..left.len()));
            let status = if left.contains(&index) {
                "running"
            } else {
                ENDS.choose(self.random).unwrap()
            };
            last = json!({"status": status, "shard": {"index": index, "total": total}});
            self.say(Expected::Event, last.clone());
        }
        self.after(last);
    }

    /// What comes after the end, once more: facts that are late, and what comes too late.
    fn after(&mut self, end: Value) {
        if self.random.random_bool(0.1) {
            let late = [json!({"status": "running"}), json!({"alive": true})];
            let late = late.choose(self.random).unwrap().clone();
            self.say(Expected::Rejection, late);
        }
        if self.random.random_bool(0.35) {
            let facts = match self.life.name.kind {
                Kind::Job => [
                    ("artifactPaths", json!(["a"])),
                    ("artifactPaths", json!(["b"])),
                ],
                Kind::Test => [("reportPath", json!("r")), ("s3Url", json!("s3://b/k"))],
            };
            let count = self.random.random_range(1..=2);
            for (name, fact) in facts.into_iter().take(count) {
                let mut late = end.clone();
                late[name] = fact;
                self.say(Expected::Event, late);
            }
        }
    }

    fn say(&mut self, expected: Expected, mut update: Value) {
        let Name {
            organization,
            kind,
            id,
        } = &self.life.name;
        let number = self.life.steps.len();
        // The same in every organization.
        update["eventId"] = json!(format!("{id}-{number}"));
        update["kind"] = json!(kind);
        update["id"] = json!(id);
        update["organizationId"] = json!(organization);
        update["projectId"] = json!(self.wave.project);
        if number == 0 {
            // Whose a state is, it says itself.
            update["name"] = json!(format!("{id} of {organization}"));
            update["labels"] = json!({"organization": organization});
            if let Some(timeout) = self.life.timeout {
                update["timeoutSeconds"] = json!(timeout);
            }
        }
        if let Some(run) = &self.run
            && number >= self.joins_at
            && update.get("alive").is_none()
        {
            update["runId"] = json!(run);
        }
        let longest = if self.wave.is_long() { 0.4 } else { 1.0 };
        self.life.steps.push(Step {
            pause: Duration::from_secs_f64(self.random.random_range(0.0..longest)),
            update,
            expected,
        });
    }
}
