//! `CloudEvents` 1.0, in JSON.
//!
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>

use serde::Serialize;
use serde_json::value::RawValue;
use shared::{
    execution::Kind,
    log::{Change, Told},
};

/// What happened, as others are told.
#[derive(Debug, Serialize)]
pub(crate) struct CloudEvent<'a> {
    specversion: &'static str,
    /// With the source, what makes it one: the same event told twice has the same.
    pub(crate) id: String,
    pub(crate) source: String,
    pub(crate) r#type: &'static str,
    subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    datacontenttype: &'static str,
    data: &'a RawValue,
}

impl<'a> CloudEvent<'a> {
    pub(crate) fn new(of: &Told, change: &'a Change) -> Self {
        CloudEvent {
            specversion: "1.0",
            id: format!("{}:{}:{}", of.kind, change.id, change.seq),
            source: format!("/runcast/{}/{}", of.organization_id, of.project_id),
            r#type: match (of.kind, change.is_end) {
                (Kind::Job, true) => "runcast.job.ended",
                (Kind::Job, false) => "runcast.job.changed",
                (Kind::Test, true) => "runcast.test.ended",
                (Kind::Test, false) => "runcast.test.changed",
            },
            subject: format!("{}/{}", of.kind, change.id),
            time: occurred_at(&change.state),
            datacontenttype: "application/json",
            data: &change.state,
        }
    }

    #[expect(clippy::expect_used, reason = "texts and a state always encode")]
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("an event encodes")
    }
}

fn occurred_at(state: &RawValue) -> Option<String> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Occurred {
        occurred_at: Option<String>,
    }
    let occurred: Occurred = serde_json::from_str(state.get()).ok()?;
    occurred.occurred_at
}
