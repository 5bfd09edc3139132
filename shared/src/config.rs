//! Configuration: every environment variable, read in one place.
//!
//! | variable | default | takes |
//! |---|---|---|
//! | `REDIS_URL` | required | `redis://` or `rediss://` |
//! | `REDIS_CLUSTER` | false | true where `REDIS_URL` is a node, or the endpoint, of a cluster |
//! | `REDIS_CA_FILE` | the public roots | a PEM file of roots to trust instead; needs `rediss://` |
//! | `REDIS_IAM_USER` | none | the `ElastiCache` user to be by IAM authentication; needs `rediss://` |
//! | `REDIS_IAM_CACHE` | told by `REDIS_URL` | `replicationgroup:NAME` or `serverlesscache:NAME` |
//! | `QUEUE_REDIS_URL` | `REDIS_URL` | where `BullMQ` lives |
//! | `DATABASE_URL` | required | `postgres://user:password@host/database` |
//! | `DATABASE_CA_FILE` | the public roots | a PEM file of roots to trust instead; TLS is then required |
//! | `DATABASE_IAM_AUTH` | false | true for IAM authentication; TLS is then required |
//! | `DATABASE_PROXY` | false | true where RDS Proxy, or another that shares connections, stands between |
//! | `DATABASE_IDLE_SECONDS` | 10 | after how long an unused connection is closed |
//! | `AUTH_JWKS` | required | a JSON Web Key Set (RFC 7517), or the addresses of some, with spaces between |
//! | `AUTH_ISSUER` | required | the `iss` that a token must have; of several addresses, each one's |
//! | `AUTH_AUDIENCE` | required | the `aud` that a token must have |
//! | `CORS_ALLOWED_ORIGINS` | none | origins, comma separated |
//! | `ARTIFACTS_BUCKET` | none | the bucket that tests' `s3Url` is read of: `NAME`, or `NAME/{org}` |
//! | `STREAM_WINDOW_SECONDS` | 120 | the longest a stream lives before it rotates |
//! | `STREAM_HEARTBEAT_SECONDS` | 15 | silence before a ping |
//! | `STREAM_FLUSH_BYTES` | 0 | the size of a comment after what is sent; 0: none |
//! | `FALLBACK_POLL_SECONDS` | 15 | how often a process asks the log how far it is, to make sure |
//! | `FALLBACK_POLL_DEGRADED_SECONDS` | 1 | the same while Redis is away |
//! | `SETTLE_SECONDS` | 10 | how long the stream of a run that has ended waits for its tests' ends |
//! | `STALLED_AFTER_SECONDS` | 21600 | how long a running execution may be silent that says nothing of it; 0: for ever |
//! | `STREAMS_PER_SUBJECT` | 20 | how many streams one subject holds at once; beyond, its oldest ends |
//! | `CONNECTS_PER_MINUTE` | 120 | how often one subject connects anew, or one address fails to |
//! | `UPDATES_PER_MINUTE` | 60000 | how many updates one subject sends over HTTP |
//! | `QUEUE_NAMES` | none | `BullMQ` queues, comma separated |
//! | `QUEUE_PREFIX` | `bull` | the prefix of their keys |
//! | `RUNNING_CAPACITY`, `QUEUED_CAPACITY` | 5, 50 | how many jobs can run, and wait |
//! | `OTEL_EXPORTER_OTLP_ENDPOINT` | none | where traces are sent: see [`traces`](crate::telemetry::traces) |
//!
//! IAM authentication, and `ARTIFACTS_BUCKET`, also read what Lambda, ECS and EKS set: `AWS_REGION`, and
//! `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN` or `AWS_CONTAINER_CREDENTIALS_FULL_URI`,
//! `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`, `AWS_CONTAINER_AUTHORIZATION_TOKEN`,
//! `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`.

mod artifacts;
mod database;
mod env;
mod redis;

use std::time::Duration;

use http::{HeaderValue, Uri};
use serde::Deserialize;
use serde_json::Value;

pub use self::{
    artifacts::Artifacts,
    database::{Database, DatabaseIam},
    env::{ConfigError, Env, Secret},
    redis::{Redis, RedisIam},
};

/// Where keys are.
#[derive(Clone, Debug)]
pub enum Jwks {
    /// JSON Web Keys (RFC 7517), of any kind.
    Given(Secret<Vec<Value>>),
    /// Where a set of them is served, or the discovery document of an issuer.
    Served(Uri),
}

/// An address that keys may be fetched from: by TLS, or on this machine.
#[must_use]
pub fn served_at(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok()?;
    let is_here = matches!(uri.host()?, "127.0.0.1" | "localhost" | "[::1]");
    match uri.scheme_str()? {
        "https" => Some(uri),
        "http" if is_here => Some(uri),
        _ => None,
    }
}

/// Who signs tokens.
#[derive(Clone, Debug)]
pub struct Authority {
    /// The `iss` of its tokens: one of these.
    pub issuers: Vec<String>,
    /// The keys that it signs by.
    pub jwks: Jwks,
}

/// Who is let in.
#[derive(Clone, Debug)]
pub struct Access {
    /// Whose tokens are accepted.
    pub authorities: Vec<Authority>,
    /// The `aud` that a token must have.
    pub audience: String,
    /// What a token's claims are called.
    pub claims: Claims,
    /// Origins that browsers may call from, with credentials.
    pub cors_allowed_origins: Vec<HeaderValue>,
}

impl Access {
    /// Reads `AUTH_JWKS`, `AUTH_ISSUER`, `AUTH_AUDIENCE` and `CORS_ALLOWED_ORIGINS`.
    ///
    /// # Errors
    /// Where one is missing or has a value it does not take.
    pub fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let origin = |text: &str| {
            let text = text.trim();
            let rest = text
                .strip_prefix("https://")
                .or(text.strip_prefix("http://"))?;
            (!rest.is_empty() && !rest.contains(['/', '*']))
                .then(|| HeaderValue::from_str(text).ok())
                .flatten()
        };
        let cors_allowed_origins = match env.get("CORS_ALLOWED_ORIGINS") {
            None => Vec::new(),
            Some(_) => env.required(
                "CORS_ALLOWED_ORIGINS",
                "origins like https://app.example.com, comma separated, without a path",
                |value| value.split(',').map(origin).collect(),
            )?,
        };
        let text = |value: &str| Some(value.to_owned());
        Ok(Access {
            authorities: Authority::from_env(env)?,
            audience: env.required("AUTH_AUDIENCE", "the aud of the tokens", text)?,
            claims: Claims::from_env(env)?,
            cors_allowed_origins,
        })
    }
}

impl Authority {
    /// Reads `AUTH_JWKS` and `AUTH_ISSUER`: what one address or set holds is of every issuer; of several
    /// addresses, each is of the issuer in its place.
    fn from_env(env: &Env) -> Result<Vec<Self>, ConfigError> {
        let takes = "a JSON Web Key Set, {\"keys\":[…]}, with at least one key, or the https:// address \
                     of one or of an issuer's /.well-known/openid-configuration, or several with spaces \
                     between";
        let all = env.required("AUTH_JWKS", takes, |value| {
            if !value.trim_start().starts_with('{') {
                let served = value.split_whitespace();
                return served.map(|uri| served_at(uri).map(Jwks::Served)).collect();
            }
            #[derive(Deserialize)]
            struct Given {
                keys: Vec<Value>,
            }
            let given: Given = serde_json::from_str(value).ok()?;
            let given = (!given.keys.is_empty()).then(|| Jwks::Given(Secret::new(given.keys)))?;
            Some(vec![given])
        })?;
        let count = all.len();
        let takes = match count {
            1 => "the iss of the tokens".to_owned(),
            count => format!(
                "the iss of each of the {count} addresses in AUTH_JWKS, with spaces between"
            ),
        };
        let issuers = env.required("AUTH_ISSUER", &takes, |value| {
            let issuers: Vec<_> = value.split_whitespace().map(str::to_owned).collect();
            let is_enough = issuers.len() == count || (count == 1 && !issuers.is_empty());
            is_enough.then_some(issuers)
        })?;
        let issuers: Vec<Vec<String>> = if count == 1 {
            vec![issuers]
        } else {
            issuers.into_iter().map(|issuer| vec![issuer]).collect()
        };
        let authorities = issuers.into_iter().zip(all);
        Ok(authorities
            .map(|(issuers, jwks)| Authority { issuers, jwks })
            .collect())
    }
}

/// What the claims of a token are called, where an identity provider calls them otherwise.
#[derive(Clone, Debug)]
pub struct Claims {
    /// Whose executions.
    pub org: String,
    /// Which of the organization's projects.
    pub projects: String,
    /// What may be done.
    pub scope: String,
}

impl Claims {
    /// What the second is called where nobody says.
    pub const PROJECTS: &str = "projects";

    fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let name = |variable, default: &str| match env.get(variable) {
            None => Ok(default.to_owned()),
            Some(_) => env.required(
                variable,
                "the name of a claim, such as cognito:groups",
                |it| (!it.trim().is_empty()).then(|| it.to_owned()),
            ),
        };
        Ok(Claims {
            org: name("AUTH_CLAIM_ORG", "org")?,
            projects: name("AUTH_CLAIM_PROJECTS", Self::PROJECTS)?,
            scope: name("AUTH_CLAIM_SCOPE", "scope")?,
        })
    }
}

/// How long streams live and how often they make sure.
#[derive(Clone, Debug)]
pub struct Streams {
    /// The longest a stream lives before it rotates.
    pub window: Duration,
    /// Silence before a ping.
    pub heartbeat: Duration,
    /// The size of a comment after what is sent; 0: none.
    pub flush_bytes: usize,
    /// How often a process with streams asks the log how far it is.
    pub poll: Duration,
    /// The same while Redis is away.
    pub poll_degraded: Duration,
    /// How long the stream of a run that has ended waits for the ends of its tests.
    pub settle: Duration,
}

impl Streams {
    /// Reads `STREAM_*`, `FALLBACK_*` and `SETTLE_SECONDS`.
    ///
    /// # Errors
    /// Where one has a value it does not take.
    pub fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let what = "a whole number of bytes";
        let flush_bytes = env.number_within("STREAM_FLUSH_BYTES", 0, what, (0, 65_536))?;
        Ok(Streams {
            window: env.seconds("STREAM_WINDOW_SECONDS", 120, (1, 900))?,
            heartbeat: env.seconds("STREAM_HEARTBEAT_SECONDS", 15, (1, 300))?,
            flush_bytes: flush_bytes.try_into().unwrap_or(usize::MAX),
            poll: env.seconds("FALLBACK_POLL_SECONDS", 15, (1, 900))?,
            poll_degraded: env.seconds("FALLBACK_POLL_DEGRADED_SECONDS", 1, (1, 900))?,
            settle: env.seconds("SETTLE_SECONDS", 10, (0, 900))?,
        })
    }
}

/// For how many seconds a running execution may be silent whose producer says nothing of it, from
/// `STALLED_AFTER_SECONDS`; `None`: for ever.
///
/// # Errors
/// Where it has a value it does not take.
pub fn stalled_after(env: &Env) -> Result<Option<u32>, ConfigError> {
    let span = env.seconds("STALLED_AFTER_SECONDS", 21_600, (0, 31_536_000))?;
    let seconds = u32::try_from(span.as_secs()).unwrap_or(u32::MAX);
    Ok((seconds > 0).then_some(seconds))
}

/// How much one caller may do.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How many streams one subject holds at once.
    pub streams_per_subject: u64,
    /// How often one subject connects anew in a minute, or one address fails to.
    pub connects_per_minute: u64,
    /// How many updates one subject sends over HTTP in a minute.
    pub updates_per_minute: u64,
}

impl Limits {
    /// Reads `STREAMS_PER_SUBJECT`, `CONNECTS_PER_MINUTE` and `UPDATES_PER_MINUTE`.
    ///
    /// # Errors
    /// Where one has a value it does not take.
    pub fn from_env(env: &Env) -> Result<Self, ConfigError> {
        Ok(Limits {
            streams_per_subject: env.limit("STREAMS_PER_SUBJECT", 20)?,
            connects_per_minute: env.limit("CONNECTS_PER_MINUTE", 120)?,
            updates_per_minute: env.limit("UPDATES_PER_MINUTE", 60_000)?,
        })
    }
}

/// The queues whose statistics are shown.
#[derive(Clone, Debug)]
pub struct Queues {
    /// Where they live.
    pub redis: Redis,
    /// Their names.
    pub names: Vec<String>,
    /// The prefix of their keys.
    pub prefix: String,
    /// How many jobs can run at once.
    pub running_capacity: u64,
    /// How many can wait.
    pub queued_capacity: u64,
}

impl Queues {
    /// Reads `QUEUE_*`, `RUNNING_CAPACITY` and `QUEUED_CAPACITY`.
    ///
    /// # Errors
    /// Where one has a value it does not take.
    pub fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let name = |text: &str| {
            let text = text.trim();
            (!text.is_empty() && !text.contains(':')).then(|| text.to_owned())
        };
        let names = match env.get("QUEUE_NAMES") {
            None => Vec::new(),
            Some(_) => {
                env.required("QUEUE_NAMES", "names of queues, comma separated", |value| {
                    value.split(',').map(name).collect()
                })?
            }
        };
        Ok(Queues {
            redis: Redis::of_queues(env)?,
            names,
            prefix: env.get("QUEUE_PREFIX").unwrap_or("bull").to_owned(),
            running_capacity: env.number("RUNNING_CAPACITY", 5)?,
            queued_capacity: env.number("QUEUED_CAPACITY", 50)?,
        })
    }

    /// A key of a queue.
    #[must_use]
    pub fn key(&self, queue: &str, suffix: &str) -> String {
        format!("{}:{queue}:{suffix}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A function's variables in AWS, with these.
    pub(super) fn env(variables: &[(&str, &str)]) -> Env {
        let aws = [
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "hunter2"),
        ];
        // Later ones count.
        let all = aws.iter().chain(variables);
        all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn a_bad_value_is_answered_with_what_the_variable_takes() {
        let error = Streams::from_env(&env(&[("STREAM_WINDOW_SECONDS", "soon")])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "STREAM_WINDOW_SECONDS has a value it does not take; it takes a whole number of \
             seconds from 1 to 900"
        );
        let error = Redis::from_env(&Env::default()).unwrap_err().to_string();
        assert!(
            error.starts_with("REDIS_URL is not set; it takes redis://"),
            "{error}"
        );
        assert!(Redis::from_env(&env(&[("REDIS_URL", "localhost")])).is_err());
        assert!(Database::from_env(&env(&[("DATABASE_URL", "mysql://x")])).is_err());
    }
}
