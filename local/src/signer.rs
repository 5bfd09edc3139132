//! The stack's own key: it signs the tokens of whoever works with the stack.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::execution::Id;

use crate::Error;

/// The key's id, by which the functions find it.
const KEY_ID: &str = "runcast-local";

/// An Ed25519 key that lives as long as its stack.
pub(crate) struct Signer {
    pair: Ed25519KeyPair,
    issuer: String,
    audience: String,
}

/// What a token shall grant.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TokenRequest {
    pub(crate) org: Id,
    /// Absent: every project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) projects: Option<Vec<Id>>,
    /// Absent: every queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) queues: Option<Vec<String>>,
    pub(crate) ttl_seconds: u64,
    /// Absent: to watch.
    #[serde(default = "to_watch")]
    pub(crate) scope: Vec<Scope>,
}

fn to_watch() -> Vec<Scope> {
    vec![Scope::Read]
}

/// One thing that a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub(crate) enum Scope {
    /// To watch
    #[serde(rename = "status:read")]
    #[value(name = "status:read")]
    Read,
    /// To send
    #[serde(rename = "status:write")]
    #[value(name = "status:write")]
    Write,
}

impl Scope {
    fn as_str(self) -> &'static str {
        match self {
            Scope::Read => "status:read",
            Scope::Write => "status:write",
        }
    }
}

impl Signer {
    pub(crate) fn new(issuer: String, audience: String) -> Result<Self, Error> {
        let document = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new());
        let document = document.map_err(|_| "no randomness for a key")?;
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref());
        Ok(Signer {
            pair: pair.map_err(|_| "the new key is not readable")?,
            issuer,
            audience,
        })
    }

    /// A key set with this key, beside those given.
    pub(crate) fn key_set(&self, given: Option<&str>) -> String {
        let none = || json!({"keys": []});
        let mut keys =
            given.map_or_else(none, |text| serde_json::from_str(text).unwrap_or_default());
        let own = json!({
            "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": KEY_ID,
            "x": BASE64.encode(self.pair.public_key()),
        });
        match keys.get_mut("keys").and_then(Value::as_array_mut) {
            Some(keys) => keys.push(own),
            // Not a key set: the functions say so.
            None => return given.unwrap_or_default().to_owned(),
        }
        keys.to_string()
    }

    pub(crate) fn sign(&self, request: &TokenRequest) -> Result<String, Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let expires = now.checked_add(Duration::from_secs(request.ttl_seconds));
        let expires = expires.ok_or("the token would live too long")?;
        let scope: Vec<_> = request.scope.iter().map(|scope| scope.as_str()).collect();
        let mut claims = json!({
            "sub": "local", "org": request.org, "scope": scope.join(" "),
            "iss": self.issuer, "aud": self.audience,
            "iat": now.as_secs(), "exp": expires.as_secs(),
        });
        if let Some(projects) = &request.projects {
            claims["projects"] = json!(projects);
        }
        if let Some(queues) = &request.queues {
            claims["queues"] = json!(queues);
        }
        let header = json!({"typ": "JWT", "alg": "EdDSA", "kid": KEY_ID});
        let [header, claims] = [header, claims].map(|part| BASE64.encode(part.to_string()));
        let message = format!("{header}.{claims}");
        let signature = BASE64.encode(self.pair.sign(message.as_bytes()));
        Ok(format!("{message}.{signature}"))
    }
}
