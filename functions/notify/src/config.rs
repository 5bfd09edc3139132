//! The configuration, from environment variables.

use base64::{Engine, prelude::BASE64_STANDARD};
use lambda_runtime::Error;
use reqwest::Url;
use ring::hmac;
use shared::{
    config::{ConfigError, Env},
    iam::dns_suffix,
    log::Changes,
};

use crate::{
    sinks::{Bridge, Sink, To, Webhook, client},
    worker::Worker,
};

/// How short a webhook's secret may be, in bytes: Standard Webhooks ask for 24.
const LEAST_SECRET: usize = 24;

/// Who is told, and by whom it is known what.
pub(crate) struct Config {
    pub(crate) worker: Worker,
    pub(crate) sinks: Vec<Sink>,
}

impl Config {
    pub(crate) fn from_env(env: &Env) -> Result<Self, Error> {
        let client = client()?;
        let region = env.required("AWS_REGION", "the name of a region", |it| {
            Some(it.to_owned())
        })?;
        let worker = env.required("WORKER_FUNCTION", "the name or ARN of the worker", |it| {
            Some(it.to_owned())
        })?;
        let endpoint = |variable: &'static str, service: &str| {
            let default = format!("https://{service}.{region}.{}", dns_suffix(&region));
            let url = env.get(variable).or(env.get("AWS_ENDPOINT_URL"));
            url.unwrap_or(&default).trim_end_matches('/').to_owned()
        };
        let lambda = endpoint("AWS_ENDPOINT_URL_LAMBDA", "lambda");
        let worker = Worker {
            client: client.clone(),
            signer: env.signer("WORKER_FUNCTION")?,
            url: format!(
                "{lambda}/2015-03-31/functions/{}/invocations",
                encoded(&worker)
            ),
        };
        let changes = match env.get("NOTIFY_CHANGES") {
            None | Some("ended") => Changes::Ended,
            Some("all") => Changes::All,
            Some(_) => return Err(ConfigError::new("NOTIFY_CHANGES", "takes ended or all").into()),
        };
        let mut sinks = Vec::new();
        if let Some(bus) = env.get("EVENT_BUS") {
            sinks.push(To::Bridge(Bridge {
                client: client.clone(),
                signer: env.signer("EVENT_BUS")?,
                url: format!("{}/", endpoint("AWS_ENDPOINT_URL_EVENTBRIDGE", "events")),
                bus: bus.to_owned(),
            }));
        }
        if env.get("WEBHOOK_URL").is_some() {
            let takes = "an https:// address, or an http:// one of this machine";
            let secret = "whsec_ and the base64 of at least 24 random bytes";
            sinks.push(To::Webhook(Webhook {
                client,
                url: env.required("WEBHOOK_URL", takes, address)?,
                key: env.required("WEBHOOK_SECRET", secret, key)?,
            }));
        }
        if sinks.is_empty() {
            return Err(ConfigError::new("EVENT_BUS", "or WEBHOOK_URL is required").into());
        }
        let sinks = sinks.into_iter().map(|to| Sink { to, changes });
        Ok(Config {
            worker,
            sinks: sinks.collect(),
        })
    }
}

/// An ARN has colons, which a path takes; nothing else of it needs an escape.
fn encoded(function: &str) -> String {
    function.replace('/', "%2F")
}

fn address(text: &str) -> Option<String> {
    let url: Url = text.parse().ok()?;
    let is_here = matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
    let is_safe = url.scheme() == "https" || (url.scheme() == "http" && is_here);
    (is_safe && url.has_host()).then(|| text.to_owned())
}

fn key(text: &str) -> Option<hmac::Key> {
    let secret = BASE64_STANDARD.decode(text.strip_prefix("whsec_")?).ok()?;
    (secret.len() >= LEAST_SECRET).then(|| hmac::Key::new(hmac::HMAC_SHA256, &secret))
}
