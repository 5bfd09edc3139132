//! Who is told.

mod bridge;
mod webhook;

use std::time::Duration;

use reqwest::{Client, Response};
use shared::{
    iam::{Signer, TokenError},
    log::Changes,
};
use thiserror::Error;

pub(crate) use self::{bridge::Bridge, webhook::Webhook};
use crate::event::CloudEvent;

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Who is told, and of what.
pub(crate) struct Sink {
    pub(crate) to: To,
    pub(crate) changes: Changes,
}

/// Where to.
pub(crate) enum To {
    Bridge(Bridge),
    Webhook(Webhook),
}

/// Why something could not be told: it is told again.
#[derive(Debug, Error)]
pub(crate) enum NotTold {
    /// The worker did not say what there is to tell.
    #[error("the worker answers {0}")]
    Worker(http::StatusCode),
    /// The sink took it for wrong.
    #[error("it answers {0}")]
    Refused(http::StatusCode),
    /// `EventBridge` took the request, and not what was in it.
    #[error("it does not take an event: {0}")]
    Entry(String),
    /// There was no answer.
    #[error("it does not answer")]
    Away(#[from] reqwest::Error),
    /// The request cannot be signed.
    #[error("the request cannot be signed")]
    Sign(#[from] TokenError),
    /// The request cannot be written.
    #[error("the request cannot be written")]
    Request(#[from] http::Error),
}

impl Sink {
    /// Its name, by which the log knows how far it was told.
    pub(crate) fn name(&self) -> &'static str {
        match &self.to {
            To::Bridge(_) => "eventbridge",
            To::Webhook(_) => "webhook",
        }
    }

    pub(crate) fn changes(&self) -> Changes {
        self.changes
    }

    /// Of how many events it is told at once.
    pub(crate) fn batch(&self) -> usize {
        match &self.to {
            To::Bridge(_) => bridge::MAX_ENTRIES,
            To::Webhook(_) => 1,
        }
    }

    /// Tells it, all or nothing as far as anyone knows.
    pub(crate) async fn tell(&self, events: &[CloudEvent<'_>]) -> Result<(), NotTold> {
        match &self.to {
            To::Bridge(bridge) => bridge.tell(events).await,
            To::Webhook(webhook) => webhook.tell(events).await,
        }
    }
}

/// A client that follows no redirect: what was told to one address is not told to another.
pub(crate) fn client() -> reqwest::Result<Client> {
    Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(ANSWER_TIMEOUT)
        .build()
}

/// Sends a request to a service of AWS.
pub(crate) async fn signed(
    client: &Client,
    signer: &Signer,
    service: &str,
    mut request: http::Request<String>,
) -> Result<Response, NotTold> {
    signer.sign(service, &mut request).await?;
    Ok(client.execute(request.try_into()?).await?)
}
