//! The forms in which updates come, and the answer that each expects.

// The fuzz target has this file by its path, too.
#[cfg(test)]
#[path = "batch/tests.rs"]
mod tests;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent};
use serde::Deserialize;
use serde_json::{Value, json};
use shared::{
    ingest::{self, Receipt},
    log::{Answer, Changes, Submission, Told},
    update::legible,
};

/// What the worker is invoked for.
#[derive(Debug)]
pub(crate) enum Invocation {
    /// Updates to commit.
    Updates(Batch),
    /// `{"sweep":true}`: to look for executions that have gone silent.
    Sweep,
    /// `{"outbox":{…}}`: to note how far a sink was told, and to say what it is to be told next.
    Outbox(Outbox),
}

/// What `notify` asks for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Outbox {
    pub(crate) sink: String,
    #[serde(default)]
    pub(crate) changes: Changes,
    #[serde(default)]
    pub(crate) told: Vec<Told>,
}

impl Invocation {
    /// Reads an invocation's payload.
    pub(crate) fn read(payload: &str) -> Result<Self, String> {
        Self::of(&legible(payload))
            .map_err(|error| format!("{error}; send {{\"updates\":[…]}}, or an SQS event"))
    }

    fn of(payload: &str) -> Result<Self, String> {
        let members = ingest::members(payload)?;
        let member = |name| members.get(name).map(|raw| raw.get());
        let batch = match (member("Records"), member("updates"), member("sweep")) {
            (Some(_), ..) => Batch::of_queue(payload)?,
            (None, Some(updates), _) => Batch::direct(updates)?,
            (None, None, Some("true")) if members.len() == 1 => return Ok(Invocation::Sweep),
            (None, None, None) if members.len() == 1 && member("outbox").is_some() => {
                let outbox = member("outbox").unwrap_or_default();
                let outbox = serde_json::from_str(outbox);
                return outbox
                    .map(Invocation::Outbox)
                    .map_err(|error| format!("not an outbox ({error})"));
            }
            _ => return Err("not a batch of updates".to_owned()),
        };
        Ok(Invocation::Updates(batch))
    }
}

/// Updates, in order.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) submissions: Vec<Submission<'static>>,
    pub(crate) source: Source,
}

/// What brought them.
#[derive(Debug)]
pub(crate) enum Source {
    /// SQS, with what it calls the messages that the updates were in.
    Queue {
        ids: Vec<String>,
        /// Each one's `MessageGroupId`: what follows it there, must not overtake it.
        groups: Vec<String>,
    },
    /// A direct invocation.
    Direct,
}

impl Source {
    /// The groups of a queue's messages; `None` where it was no queue, which takes no part of a batch
    /// back.
    pub(crate) fn groups(&self) -> Option<&[String]> {
        match self {
            Source::Queue { groups, .. } => Some(groups),
            Source::Direct => None,
        }
    }
}

impl Batch {
    fn direct(updates: &str) -> Result<Self, String> {
        let updates = ingest::list(updates)?.into_iter();
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
        let (mut ids, mut groups, mut submissions) = (Vec::new(), Vec::new(), Vec::new());
        for message in event.records {
            let mut submission = Submission::new(message.body.unwrap_or_default());
            if let Ok(update) = &mut submission.update
                && update.traceparent.is_none()
            {
                let attribute = message.message_attributes.get("traceparent");
                let value = attribute.and_then(|it| it.string_value.as_deref());
                update.traceparent = value.and_then(|text| text.parse().ok());
            }
            let group = message.attributes.get("MessageGroupId").cloned();
            ids.push(message.message_id.ok_or("a record has no messageId")?);
            groups.push(group.unwrap_or_else(|| ingest::group_of(&submission)));
            submissions.push(submission);
        }
        Ok(Batch {
            submissions,
            source: Source::Queue { ids, groups },
        })
    }

    /// The answer; `None` stands for what could not be committed now, which SQS keeps, in order. What
    /// was rejected is recorded, and acknowledged: SQS would bring it back, and in the end drag its
    /// group's healthy followers into the dead-letter queue.
    pub(crate) fn answer(&self, answers: &[Option<Answer>]) -> Result<Value, String> {
        let receipt = Receipt::new(&self.submissions, answers);
        match &self.source {
            Source::Queue { ids, .. } => {
                let kept = ids.iter().zip(answers);
                let kept = kept.filter(|(_, answer)| answer.is_none());
                let failure = |(id, _): (&String, _)| {
                    let mut failure = BatchItemFailure::default();
                    failure.item_identifier.clone_from(id);
                    failure
                };
                let mut response = SqsBatchResponse::default();
                response.batch_item_failures = kept.map(failure).collect();
                Ok(json!(response))
            }
            Source::Direct if answers.contains(&None) => {
                Err("the updates cannot be committed now; send the same ones again".to_owned())
            }
            Source::Direct => Ok(json!(receipt)),
        }
    }
}
