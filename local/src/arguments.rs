//! What the options of the commands take. What is wrong is said before anything is sent or started.

use std::{ffi::OsStr, path::PathBuf};

use clap::{
    Arg, Command,
    builder::{RangedU64ValueParser, TypedValueParser},
    error::ErrorKind,
};
use reqwest::Url;
use serde_json::{Value, json};
use shared::{
    config::{self, ConfigError, Env},
    execution::{Seq, Status, Timestamp},
    update,
};

/// An address of a stack, without the slash at its end.
pub(crate) fn address(text: &str) -> Result<String, &'static str> {
    let url = Url::parse(text).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.query().is_none()
            && url.fragment().is_none()
    });
    let url =
        url.ok_or("an address looks like http://127.0.0.1:8787 or https://status.example.com")?;
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// A producer's word for a status, as it is.
pub(crate) fn status(word: &str) -> Result<String, String> {
    match word.parse::<Status>() {
        Ok(_) => Ok(word.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// What makes an update one.
pub(crate) fn event_id(text: &str) -> Result<String, &'static str> {
    let update = json!({"eventId": text}).to_string();
    update::event_id_of(&update).ok_or("an event id is 1 to 128 visible ASCII characters")
}

/// A moment.
pub(crate) fn time(text: &str) -> Result<Timestamp, String> {
    serde_json::from_value(Value::from(text)).map_err(|error| error.to_string())
}

/// Where a viewer stands.
pub(crate) fn cursor(text: &str) -> Result<String, &'static str> {
    let seqs: Result<Vec<_>, _> = text.split(',').map(|seq| seq.parse().map(Seq)).collect();
    match seqs {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("it is the number of an event, or one for each id: 3 or 3,9,5"),
    }
}

/// A folder, or where one can be made.
pub(crate) fn folder(text: &str) -> Result<PathBuf, &'static str> {
    let path = PathBuf::from(text);
    if text.is_empty() || (path.exists() && !path.is_dir()) {
        return Err("it is no folder");
    }
    Ok(path)
}

/// A whole number that JavaScript tells from the next: up to 2^53.
pub(crate) fn count() -> RangedU64ValueParser {
    RangedU64ValueParser::new().range(..=1 << 53)
}

/// A number above 0.
pub(crate) fn above_0(text: &str) -> Result<f64, &'static str> {
    let number = text.parse().ok();
    number
        .filter(|number: &f64| number.is_finite() && *number > 0.0)
        .ok_or("it takes a number above 0")
}

/// A number from 0 on.
pub(crate) fn from_0(text: &str) -> Result<f64, &'static str> {
    let number = text.parse().ok();
    number
        .filter(|number: &f64| number.is_finite() && *number >= 0.0)
        .ok_or("it takes a number from 0 on")
}

/// What holds a secret: where it is wrong, it is not shown.
#[derive(Clone)]
pub(crate) struct Secret(fn(&str) -> Result<(), String>);

impl Secret {
    /// A JSON Web Token (RFC 7519, in the compact form of RFC 7515).
    pub(crate) const TOKEN: Self = Secret(|text| {
        let is_part = |part: &str| {
            let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            !part.is_empty() && part.bytes().all(is_base64url)
        };
        let parts: Vec<_> = text.split('.').collect();
        if parts.len() == 3 && parts.into_iter().all(is_part) {
            Ok(())
        } else {
            Err(
                "a token has three parts, like eyJhbG….eyJzdW….c2lnbm…; `runcast token` makes one"
                    .to_owned(),
            )
        }
    });

    /// The address of a Redis.
    pub(crate) const REDIS_URL: Self = Secret(|url| {
        taken("REDIS_URL", url, |env| {
            config::Redis::from_env(env).map(drop)
        })
    });

    /// The address of a Postgres.
    pub(crate) const DATABASE_URL: Self = Secret(|url| {
        taken("DATABASE_URL", url, |env| {
            config::Database::from_env(env).map(drop)
        })
    });
}

/// Whether a variable takes this value.
fn taken(
    variable: &str,
    value: &str,
    read: fn(&Env) -> Result<(), ConfigError>,
) -> Result<(), String> {
    let env: Env = [(variable.to_owned(), value.to_owned())]
        .into_iter()
        .collect();
    read(&env).map_err(|error| error.to_string())
}

impl TypedValueParser for Secret {
    type Value = String;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        let Secret(check) = self;
        let text = value.to_str().unwrap_or_default();
        let Err(reason) = check(text) else {
            return Ok(text.to_owned());
        };
        let name = argument.map(ToString::to_string).unwrap_or_default();
        let message = format!("invalid value for '{name}': {reason}\n");
        Err(clap::Error::raw(ErrorKind::ValueValidation, message).with_cmd(command))
    }
}
