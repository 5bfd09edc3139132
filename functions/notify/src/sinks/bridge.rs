//! `EventBridge`.
//!
//! <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html>

use http::header::CONTENT_TYPE;
use reqwest::Client;
use serde::Deserialize;
use serde_json::{Value, json};
use shared::iam::Signer;

use super::{NotTold, signed};
use crate::event::CloudEvent;

/// The most entries of one request.
pub(super) const MAX_ENTRIES: usize = 10;

/// The most bytes of a request, and of an entry: 256 KB in all, of which each counts some of its own.
const MAX_BYTES: usize = 250 * 1024;

/// An event bus.
pub(crate) struct Bridge {
    pub(crate) client: Client,
    pub(crate) signer: Signer,
    pub(crate) url: String,
    /// Its name or ARN.
    pub(crate) bus: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    error_code: Option<String>,
}

impl Bridge {
    pub(super) async fn tell(&self, events: &[CloudEvent<'_>]) -> Result<(), NotTold> {
        let mut entries: Vec<Value> = Vec::new();
        let mut bytes = 0;
        for event in events {
            let detail = event.to_json();
            if bytes + detail.len() > MAX_BYTES && !entries.is_empty() {
                self.put(std::mem::take(&mut entries)).await?;
                bytes = 0;
            }
            bytes += detail.len();
            entries.push(json!({
                "Source": "runcast",
                "DetailType": event.r#type,
                "Detail": detail,
                "EventBusName": self.bus,
                "Resources": [event.source],
            }));
        }
        self.put(entries).await
    }

    async fn put(&self, entries: Vec<Value>) -> Result<(), NotTold> {
        let request = http::Request::post(&self.url)
            .header(CONTENT_TYPE, "application/x-amz-json-1.1")
            .header("x-amz-target", "AWSEvents.PutEvents")
            .body(json!({"Entries": entries}).to_string())?;
        let response = signed(&self.client, &self.signer, "events", request).await?;
        let status = response.status();
        if !status.is_success() {
            return Err(NotTold::Refused(status));
        }
        let answer: Answer = response.json().await?;
        let mut failures = answer.entries.into_iter().filter_map(|it| it.error_code);
        failures
            .next()
            .map_or(Ok(()), |code| Err(NotTold::Entry(code)))
    }
}
