//! The worker, as Lambda's API reaches it.
//!
//! <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>

use reqwest::Client;
use serde::Deserialize;
use serde_json::json;
use shared::{
    iam::Signer,
    log::{Changes, Told, Untold},
};

use crate::sinks::{NotTold, signed};

/// Who reads the log, and notes how far a sink was told.
pub(crate) struct Worker {
    pub(crate) client: Client,
    pub(crate) signer: Signer,
    pub(crate) url: String,
}

impl Worker {
    /// Notes how far a sink was told; returns what it is to be told next.
    pub(crate) async fn outbox(
        &self,
        sink: &str,
        changes: Changes,
        told: &[Told],
    ) -> Result<Vec<Untold>, NotTold> {
        #[derive(Deserialize)]
        struct Answer {
            untold: Vec<Untold>,
        }
        let order = json!({"outbox": {"sink": sink, "changes": changes, "told": told}});
        let request = http::Request::post(&self.url).body(order.to_string())?;
        let response = signed(&self.client, &self.signer, "lambda", request).await?;
        let status = response.status();
        let has_failed = response.headers().contains_key("x-amz-function-error");
        if !status.is_success() || has_failed {
            return Err(NotTold::Worker(status));
        }
        let answer: Answer = response.json().await?;
        Ok(answer.untold)
    }
}
