//! Environment variables, and what is said of a bad one.

use std::{collections::HashMap, fmt, time::Duration};

use thiserror::Error;

use crate::{
    iam::{Authorization, Credentials, Signer},
    tls::Roots,
};

/// A variable that is missing or has a value that it does not take.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{variable} {takes}")]
pub struct ConfigError {
    variable: &'static str,
    takes: String,
}

impl ConfigError {
    /// An error about a variable.
    #[must_use]
    pub fn new(variable: &'static str, takes: impl Into<String>) -> Self {
        let takes = takes.into();
        ConfigError { variable, takes }
    }
}

/// Environment variables, as of the process or of a test.
#[derive(Clone, Debug, Default)]
pub struct Env(HashMap<String, String>);

impl Env {
    /// The variables of this process.
    #[must_use]
    pub fn of_process() -> Self {
        std::env::vars().collect()
    }

    /// These variables, with others laid over them.
    #[must_use]
    pub fn with(&self, others: impl IntoIterator<Item = (String, String)>) -> Self {
        self.0.clone().into_iter().chain(others).collect()
    }

    /// How many connections to Postgres this process holds at most. One that serves one request at a
    /// time needs one: with two, a first request that comes while the first is being opened opens
    /// another. One that serves many (Lambda Managed Instances) has eight.
    #[must_use]
    pub fn connections(&self) -> usize {
        let concurrency = self.get("AWS_LAMBDA_MAX_CONCURRENCY");
        match concurrency.and_then(|text| text.parse().ok()) {
            Some(2u32..) => 8,
            _ => 1,
        }
    }

    /// A variable's value, trimmed; an empty one is not set.
    #[must_use]
    pub fn get(&self, variable: &str) -> Option<&str> {
        let value = self.0.get(variable)?.trim();
        (!value.is_empty()).then_some(value)
    }

    /// Reads a variable that must be there.
    ///
    /// # Errors
    /// Where it is not, or `read` does not take its value.
    pub fn required<T>(
        &self,
        variable: &'static str,
        takes: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, ConfigError> {
        match self.get(variable) {
            None => Err(ConfigError {
                variable,
                takes: format!("is not set; it takes {takes}"),
            }),
            // The value is not repeated: it may hold a secret.
            Some(value) => read(value).ok_or_else(|| ConfigError {
                variable,
                takes: format!("has a value it does not take; it takes {takes}"),
            }),
        }
    }

    pub(super) fn number(&self, variable: &'static str, default: u64) -> Result<u64, ConfigError> {
        match self.get(variable) {
            None => Ok(default),
            Some(_) => self.required(variable, "a whole number", |value| value.parse().ok()),
        }
    }

    pub(super) fn flag(&self, variable: &'static str) -> Result<bool, ConfigError> {
        match self.get(variable) {
            None => Ok(false),
            Some(_) => self.required(variable, "true or false", |value| value.parse().ok()),
        }
    }

    pub(super) fn roots(&self, variable: &'static str) -> Result<Option<Roots>, ConfigError> {
        let takes = "the path of a PEM file of root certificates";
        let path = self.get(variable);
        path.map(|_| self.required(variable, takes, Roots::of_file))
            .transpose()
    }

    /// The signer for what `variable` asks for.
    ///
    /// # Errors
    /// Where Lambda has not said for whom to sign.
    pub fn signer(&self, variable: &'static str) -> Result<Signer, ConfigError> {
        let needs = |what: &str| ConfigError::new(variable, format!("needs {what}"));
        let region = self.get("AWS_REGION").ok_or_else(|| needs("AWS_REGION"))?;
        let credentials = match (
            self.get("AWS_ACCESS_KEY_ID"),
            self.get("AWS_SECRET_ACCESS_KEY"),
        ) {
            (Some(id), Some(key)) => {
                let token = self.get("AWS_SESSION_TOKEN").map(str::to_owned);
                let keys =
                    aws_credential_types::Credentials::new(id, key, token, None, "environment");
                Credentials::Fixed(Secret(keys))
            }
            _ => self.served_credentials().map_err(needs)?,
        };
        Ok(Signer::new(region, credentials))
    }

    /// Where this machine serves a role's credentials:
    /// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>.
    fn served_credentials(&self) -> Result<Credentials, &'static str> {
        let uri = match self.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
            // ECS names the path only, at its own address.
            Some(path) => format!("http://169.254.170.2{path}"),
            None => self
                .get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
                .ok_or("the credentials of a role, which Lambda, ECS and EKS set")?
                .to_owned(),
        };
        let authorization = match (
            self.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
            self.get("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
        ) {
            (Some(path), _) => Some(Authorization::File(path.into())),
            (None, Some(token)) => Some(
                Authorization::token(token)
                    .ok_or("AWS_CONTAINER_AUTHORIZATION_TOKEN to be a header's value")?,
            ),
            (None, None) => None,
        };
        Credentials::served(&uri, authorization)
            .ok_or("AWS_CONTAINER_CREDENTIALS_FULL_URI to be http:// on this machine")
    }

    /// Reads a number from `least` to `most`; `what` says of what kind.
    pub(super) fn number_within(
        &self,
        variable: &'static str,
        default: u64,
        what: &str,
        (least, most): (u64, u64),
    ) -> Result<u64, ConfigError> {
        let takes = format!("{what} from {least} to {most}");
        match self.get(variable) {
            None => Ok(default),
            Some(_) => self.required(variable, &takes, |value| {
                let number = value.parse().ok()?;
                (least..=most).contains(&number).then_some(number)
            }),
        }
    }

    pub(super) fn limit(&self, variable: &'static str, default: u64) -> Result<u64, ConfigError> {
        self.number_within(variable, default, "a whole number", (1, 1_000_000))
    }

    pub(super) fn seconds(
        &self,
        variable: &'static str,
        default: u64,
        bounds: (u64, u64),
    ) -> Result<Duration, ConfigError> {
        self.number_within(variable, default, "a whole number of seconds", bounds)
            .map(Duration::from_secs)
    }
}

impl FromIterator<(String, String)> for Env {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Env(variables.into_iter().collect())
    }
}

/// A value that is never printed.
#[derive(Clone)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    pub(crate) fn new(value: T) -> Self {
        Secret(value)
    }

    /// The value itself, where it is used.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
