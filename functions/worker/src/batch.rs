//! The two forms in which updates come, and the answer that each expects.

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::log::{Answer, Submission};

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

#[derive(Deserialize)]
#[serde(untagged)]
enum Invocation {
    Queue(Records),
    Direct { updates: Vec<Value> },
}

/// An SQS event; without its records it would be taken for empty.
#[derive(Deserialize)]
struct Records {
    #[serde(rename = "Records")]
    records: Value,
}

impl Batch {
    /// Reads an invocation's payload.
    pub(crate) fn read(payload: Value) -> Result<Self, String> {
        let form = "send {\"updates\":[…]}, or an SQS event";
        if !payload.is_object() {
            // serde would take a list of its fields, too.
            return Err(format!("not an object; {form}"));
        }
        match serde_json::from_value(payload) {
            Ok(Invocation::Direct { updates }) => Ok(Batch {
                submissions: updates
                    .iter()
                    .map(|update| Submission::new(update.to_string()))
                    .collect(),
                source: Source::Direct,
            }),
            Ok(Invocation::Queue(Records { records })) => {
                let event: SqsEvent = serde_json::from_value(json!({"Records": records}))
                    .map_err(|error| format!("not an SQS event ({error}); {form}"))?;
                let messages = event.records.into_iter().map(|message| {
                    let id = message.message_id.ok_or("a record has no messageId")?;
                    let submission = Submission::new(message.body.unwrap_or_default());
                    let group = message.attributes.get("MessageGroupId").cloned();
                    let group = group.unwrap_or_else(|| group_of(&submission));
                    Ok((Message { id, group }, submission))
                });
                let messages: Result<Vec<_>, &str> = messages.collect();
                let (messages, submissions) = messages
                    .map_err(|error| format!("{error}; {form}"))?
                    .into_iter()
                    .unzip();
                Ok(Batch {
                    submissions,
                    source: Source::Queue(messages),
                })
            }
            Err(_) => Err(format!("not a batch of updates; {form}")),
        }
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
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Rejected<'a> {
            index: usize,
            event_id: Option<String>,
            reason: &'a str,
        }
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
        metrics::counter!("RejectedUpdates").increment(rejected.len() as u64);
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
            })),
        }
    }
}

/// The group that producers put an update into.
fn group_of(submission: &Submission<'_>) -> String {
    match &submission.update {
        Ok(update) => format!("{}:{}", update.kind, update.id),
        Err(_) => String::new(),
    }
}
