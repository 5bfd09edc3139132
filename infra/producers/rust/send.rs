//! Sends updates to Runcast's worker over the Invoke API of a local stack (`runcast up`).
//!
//! On AWS the same request has to be signed: use the crate `aws-sdk-lambda`, or another producer's
//! way here.

use serde_json::{Value, json};

/// Sends updates; returns what became of each.
///
/// # Errors
/// Where nothing was committed. Send the same updates again: each counts once.
pub async fn send(
    client: &reqwest::Client,
    url: &str,
    updates: &[Value],
) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
    let url = format!("{url}/2015-03-31/functions/worker/invocations");
    let request = client.post(url).json(&json!({"updates": updates}));
    let response = request.send().await?.error_for_status()?;
    let failed = response.headers().contains_key("x-amz-function-error");
    let answer: Value = response.json().await?;
    if failed {
        return Err(answer.to_string().into());
    }
    Ok(answer)
}
