//! The commands of whoever works with a running stack.

mod follow;
mod identity;
pub(crate) mod import;
pub(crate) mod publish;
pub(crate) mod run;
mod send;
pub(crate) mod tail;
pub(crate) mod token;
mod told;

use std::{io::Write, time::Duration};

use reqwest::Response;
use serde::Serialize;
use serde_json::Value;

use crate::{Error, arguments, signer::TokenRequest};

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an answer may take: the worker tries for some seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);

/// How much is shown of an answer that is no problem, in characters.
const SHOWN: usize = 200;

/// Where the stack is.
#[derive(clap::Args)]
pub(crate) struct Target {
    /// The stack's address
    #[arg(long, env = "RUNCAST_URL", default_value = "http://127.0.0.1:8787", value_parser = arguments::address)]
    pub(crate) url: String,
}

impl Target {
    /// An address of the stack.
    fn path(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// A token signed by the stack's key.
    async fn token(&self, request: &TokenRequest) -> Result<String, Error> {
        let response = self.post("/_local/token", request, None).await?;
        let body = self.json(response).await?;
        let token = body.get("token").and_then(Value::as_str);
        Ok(token.ok_or_else(|| self.no_stack("no token"))?.to_owned())
    }

    /// Sends JSON to a path of the stack, and fails where that is refused.
    async fn post(
        &self,
        path: &str,
        body: &impl Serialize,
        token: Option<&str>,
    ) -> Result<Response, Error> {
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT);
        let mut request = client.build()?.post(self.path(path)).json(body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await;
        let response = response.map_err(|error| self.unreachable(&innermost(&error)))?;
        if !response.status().is_success() {
            return Err(refusal(response).await.into());
        }
        Ok(response)
    }

    /// The JSON of an answer.
    async fn json(&self, response: Response) -> Result<Value, Error> {
        let json = response.json().await;
        Ok(json.map_err(|_| self.no_stack("no JSON"))?)
    }

    fn unreachable(&self, why: &str) -> String {
        let url = &self.url;
        format!("nothing answers at {url} ({why}): start `runcast up`, or name it with --url")
    }

    fn no_stack(&self, answer: &str) -> String {
        let url = &self.url;
        format!("{url} is no stack, it answers with {answer}: name one with --url")
    }
}

/// Why a server has refused, in one line: what its problem (RFC 9457) says, or what AWS's gateways
/// say, or else how its answer begins.
async fn refusal(response: Response) -> String {
    let status = response.status();
    let body = response.text().await.unwrap_or_default();
    let json: Value = serde_json::from_str(&body).unwrap_or_default();
    let member = |name: &str| json.get(name).and_then(Value::as_str);
    let said = ["detail", "message", "Message"]
        .into_iter()
        .find_map(member);
    let said = said.map_or_else(|| body.chars().take(SHOWN).collect(), str::to_owned);
    let title = member("title").map_or_else(|| status.to_string(), str::to_owned);
    let line = format!("{title}: {said}");
    // What a server says is no command to the terminal.
    let words = line.split(|c: char| c.is_whitespace() || c.is_control());
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    words.join(" ").trim_end_matches(':').to_owned()
}

/// What lies at the bottom of an error; what stands above it names functions.
fn innermost(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// Prints a line of a command's output. A reader that has seen enough (`runcast tail … | head`) ends
/// the command.
pub(crate) fn say(line: impl std::fmt::Display) {
    if writeln!(std::io::stdout(), "{line}").is_err() {
        std::process::exit(0);
    }
}
