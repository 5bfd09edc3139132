//! The forms in which updates come, and the answer that each expects.

// The fuzz target has this file by its path, too.
#[cfg(test)]
#[path = "batch/tests.rs"]
mod tests;

use std::collections::BTreeMap;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent};
use serde::Serialize;
use serde_json::{Value, json, value::RawValue};
use shared::{
    execution::Kind,
    log::{Answer, Submission},
    update::{Update, legible},
};

/// How many of one update's warnings are logged.
const MAX_LOGGED: usize = 3;

/// What the worker is invoked for.
#[derive(Debug)]
pub(crate) enum Invocation {
    /// Updates to commit.
    Updates(Batch),
    /// `{"sweep":true}`: to look for executions that have gone silent.
    Sweep,
}

impl Invocation {
    /// Reads an invocation's payload.
    pub(crate) fn read(payload: &str) -> Result<Self, String> {
        const FORM: &str = "send {\"updates\":[…]}, or an SQS event";
        let payload = legible(payload);
        if !payload.trim_start().starts_with('{') {
            return Err(format!("not an object; {FORM}"));
        }
        // Each member as its text: what cannot be read in one update must not cost the others.
        let members: BTreeMap<String, &RawValue> = serde_json::from_str(&payload)
            .map_err(|error| format!("not JSON ({error}); {FORM}"))?;
        let member = |name| members.get(name).map(|raw| raw.get());
        let batch = match (member("Records"), member("updates"), member("sweep")) {
            (Some(_), ..) => Batch::of_queue(&payload),
            (None, Some(updates), _) => Batch::direct(updates),
            (None, None, Some("true")) if members.len() == 1 => return Ok(Invocation::Sweep),
            _ => Err("not a batch of updates".to_owned()),
        };
        batch
            .map(Invocation::Updates)
            .map_err(|error| format!("{error}; {FORM}"))
    }
}

/// Updates, in order.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) submissions: Vec<Submission<'static>>,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// SQS, with the messages that the updates were in.
    Queue(Vec<Message>),
    /// A direct invocation.
    Direct,
}

#[derive(Debug)]
struct Message {
    id: String,
    /// Its `MessageGroupId`: what follows it there, must not overtake it.
    group: String,
}

impl Batch {
    fn direct(updates: &str) -> Result<Self, String> {
        let updates: Vec<&RawValue> = serde_json::from_str(updates)
            .map_err(|_| "not a batch of updates: updates is no list".to_owned())?;
        let updates = updates.into_iter();
        Ok(Batch {
            submissions: updates
                .map(|update| Submission::new(update.get().to_owned()))
                .collect(),
            source: Source::Direct,
        })
    }

    fn of_queue(payload: &str) -> Result<Self, String> {
        let event: SqsEvent =
            serde_json::from_str(payload).map_err(|error| format!("not an SQS event ({error})"))?;
        let messages = event.records.into_iter().map(|message| {
            let id = message.message_id.ok_or("a record has no messageId")?;
            let submission = Submission::new(message.body.unwrap_or_default());
            let group = message.attributes.get("MessageGroupId").cloned();
            let group = group.unwrap_or_else(|| group_of(&submission));
            Ok((Message { id, group }, submission))
        });
        let messages: Vec<_> = messages.collect::<Result<_, &str>>()?;
        let (messages, submissions) = messages.into_iter().unzip();
        Ok(Batch {
            submissions,
            source: Source::Queue(messages),
        })
    }

    /// The messages of a queue, each with its group; `None` where it was no queue, which takes no
    /// part of a batch back.
    pub(crate) fn messages(&self) -> Option<impl Iterator<Item = (&str, &Submission<'static>)>> {
        let Source::Queue(messages) = &self.source else {
            return None;
        };
        let groups = messages.iter().map(|message| message.group.as_str());
        Some(groups.zip(&self.submissions))
    }

    /// The answer; `None` stands for what could not be committed now, which SQS keeps, in order. What
    /// was rejected is recorded, and acknowledged: SQS would bring it back, and in the end drag its
    /// group's healthy followers into the dead-letter queue.
    pub(crate) fn answer(&self, answers: &[Option<Answer>]) -> Result<Value, String> {
        let rejected = self.rejected(answers);
        metrics::counter!("RejectedUpdates").increment(rejected.len() as u64);
        let warnings = self.warnings(answers);
        let count = |wanted| {
            answers
                .iter()
                .filter(|it| it.as_ref() == Some(&wanted))
                .count()
        };
        metrics::counter!("AcceptedUpdates").increment(count(Answer::Accepted) as u64);
        match &self.source {
            Source::Queue(messages) => {
                let kept = messages.iter().zip(answers);
                let kept = kept.filter(|(_, answer)| answer.is_none());
                let failure = |(message, _): (&Message, _)| {
                    let mut failure = BatchItemFailure::default();
                    failure.item_identifier.clone_from(&message.id);
                    failure
                };
                let mut response = SqsBatchResponse::default();
                response.batch_item_failures = kept.map(failure).collect();
                Ok(json!(response))
            }
            Source::Direct if answers.contains(&None) => {
                Err("the updates cannot be committed now; send the same ones again".to_owned())
            }
            Source::Direct => Ok(json!({
                "accepted": count(Answer::Accepted),
                "duplicates": count(Answer::Duplicate),
                "rejected": rejected,
                "warnings": warnings,
            })),
        }
    }

    fn rejected<'a>(&'a self, answers: &'a [Option<Answer>]) -> Vec<Rejected<'a>> {
        let mut rejected = Vec::new();
        for (index, (answer, submission)) in answers.iter().zip(&self.submissions).enumerate() {
            if let Some(Answer::Rejected(reason)) = answer {
                let event_id = submission.event_id();
                // The reason may quote the payload: it is in `rejected_updates`.
                tracing::warn!(event_id, "an update was rejected");
                rejected.push(Rejected {
                    index,
                    event_id,
                    reason,
                });
            }
        }
        rejected
    }

    /// What was left out of the updates that are in the log now.
    fn warnings(&self, answers: &[Option<Answer>]) -> Vec<Warned<'_>> {
        let mut warned = Vec::new();
        for (index, (answer, submission)) in answers.iter().zip(&self.submissions).enumerate() {
            let (Some(Answer::Accepted), Ok(update)) = (answer, &submission.update) else {
                continue;
            };
            log_warnings(update, submission);
            warned.extend(submission.warnings.iter().map(|warning| Warned {
                index,
                field: &warning.field,
                reason: &warning.reason,
            }));
        }
        warned
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rejected<'a> {
    index: usize,
    event_id: Option<String>,
    reason: &'a str,
}

#[derive(Serialize)]
struct Warned<'a> {
    index: usize,
    field: &'a str,
    reason: &'a str,
}

fn log_warnings(update: &Update, submission: &Submission<'_>) {
    for warning in submission.warnings.iter().take(MAX_LOGGED) {
        tracing::warn!(
            kind = %update.kind,
            id = %update.id,
            field = warning.field,
            reason = warning.reason,
            "a value was not kept as it came"
        );
    }
}

/// The group that producers put an update into.
fn group_of(submission: &Submission<'_>) -> String {
    match &submission.update {
        // A run and its tests keep their order.
        Ok(Update {
            kind: Kind::Test,
            run_id: Some(run_id),
            ..
        }) => format!("{}:{run_id}", Kind::Job),
        Ok(update) => format!("{}:{}", update.kind, update.id),
        Err(_) => String::new(),
    }
}
