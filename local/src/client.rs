//! The commands of whoever works with a running stack.

pub(crate) mod publish;
pub(crate) mod tail;
pub(crate) mod token;

use std::io::Write;

use reqwest::Response;
use serde::Serialize;
use serde_json::Value;

use crate::{Error, signer::TokenRequest};

/// Where the stack is.
#[derive(clap::Args)]
pub(crate) struct Target {
    /// The stack's address
    #[arg(long, env = "RUNCAST_URL", default_value = "http://127.0.0.1:8787")]
    pub(crate) url: String,
}

impl Target {
    /// An address of the stack.
    fn path(&self, path: &str) -> String {
        format!("{}{path}", self.url.trim_end_matches('/'))
    }

    /// A token signed by the stack's key.
    async fn token(&self, request: &TokenRequest) -> Result<String, Error> {
        let body: Value = self.post("/_local/token", request).await?.json().await?;
        let token = body.get("token").and_then(Value::as_str);
        Ok(token
            .ok_or("the stack answered without a token")?
            .to_owned())
    }

    /// Sends JSON to a path of the stack, and fails where that is refused.
    async fn post(&self, path: &str, body: &impl Serialize) -> Result<Response, Error> {
        let request = reqwest::Client::new().post(self.path(path)).json(body);
        let response = request
            .send()
            .await
            .map_err(|error| self.unreachable(error))?;
        let status = response.status();
        if !status.is_success() {
            return Err(format!("{status}: {}", response.text().await?).into());
        }
        Ok(response)
    }

    fn unreachable(&self, error: reqwest::Error) -> Error {
        if error.is_connect() {
            let url = &self.url;
            return format!("nothing answers at {url}: start `runcast up`, or name it with --url")
                .into();
        }
        error.into()
    }
}

/// Prints a line of a command's output. A reader that has seen enough (`runcast tail … | head`) ends
/// the command.
pub(crate) fn say(line: impl std::fmt::Display) {
    if writeln!(std::io::stdout(), "{line}").is_err() {
        std::process::exit(0);
    }
}
