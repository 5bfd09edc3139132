//! Tokens: JSON Web Tokens (RFC 7519), checked by the keys of an inline JSON Web Key Set.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, header};
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use serde::Deserialize;
use thiserror::Error;

use super::grant::Grant;
use crate::{
    config::{self, ConfigError},
    execution::Id,
};

/// The longest token that is looked at, in bytes.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// How far clocks may differ where a token begins to be valid. It ends when it says so.
const LEEWAY: Duration = Duration::from_secs(5);

/// The longest life of a token that may stand in a URL, where logs and histories keep it.
const MAX_URL_TOKEN_LIFE: Duration = Duration::from_mins(5);

/// The shortest key of HS256.
const MIN_HS256_BYTES: usize = 32;

/// The scope that a token needs to watch.
const READ: &str = "status:read";

/// The scope that a token needs to send.
const WRITE: &str = "status:write";

/// Checks tokens.
#[derive(Debug)]
pub struct Verifier {
    keys: Vec<Key>,
}

struct Key {
    id: Option<String>,
    decoding: DecodingKey,
    validation: Validation,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Why a caller is not let in. The caller is told no more than the display.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TokenError {
    /// There is none.
    #[error(
        "A token is needed: send Authorization: Bearer, X-Auth-Token, the cookie runcast_token, or \
         ?token= with a life of at most 300 s."
    )]
    Missing,
    /// It is malformed, not signed by a key of ours, not for us, or out of its time.
    #[error("The token is not valid here, or has expired: get a new one.")]
    Invalid,
    /// There is none where a sender has to put it.
    #[error("A token is needed: send Authorization: Bearer, or X-Auth-Token.")]
    MissingInHeaders,
    /// It lacks this scope.
    #[error("The token's scope lacks {0}.")]
    Scope(&'static str),
    /// It stands in the URL and lives too long for that.
    #[error("A token in the URL may live for at most 300 s: get a shorter one, or send a header.")]
    TooLongLived,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    org: Id,
    projects: Option<Vec<Id>>,
    queues: Option<Vec<String>>,
    #[serde(default)]
    scope: Scope,
    /// A `NumericDate` may have a fraction (RFC 7519, section 2).
    exp: f64,
    iat: Option<f64>,
}

/// `scope` as RFC 8693 has it, words in one string, or as a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scope {
    Words(String),
    List(Vec<String>),
}

impl Default for Scope {
    fn default() -> Self {
        Scope::List(Vec::new())
    }
}

impl Scope {
    fn holds(&self, wanted: &str) -> bool {
        match self {
            Scope::Words(words) => words.split(' ').any(|word| word == wanted),
            Scope::List(list) => list.iter().any(|word| word == wanted),
        }
    }
}

impl Verifier {
    /// A verifier for the configured keys.
    ///
    /// # Errors
    /// Where none is of a kind that is supported.
    pub fn new(access: &config::Access) -> Result<Self, ConfigError> {
        let given = access.jwks.expose();
        // Others, unknown or for encryption, cost these nothing: RFC 7517, section 5.
        let keys = given.iter().filter_map(|key| {
            let jwk = Jwk::deserialize(key).ok()?;
            let algorithm = algorithm(&jwk)?;
            let mut validation = Validation::new(algorithm);
            validation.set_issuer(&[&access.issuer]);
            validation.set_audience(&[&access.audience]);
            validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
            validation.validate_nbf = true;
            validation.leeway = LEEWAY.as_secs();
            Some(Key {
                decoding: DecodingKey::from_jwk(&jwk).ok()?,
                id: jwk.common.key_id,
                validation,
            })
        });
        let keys: Vec<_> = keys.collect();
        let unused = given.len() - keys.len();
        if unused > 0 {
            tracing::warn!(unused, "keys of AUTH_JWKS are of no use here");
        }
        if keys.is_empty() {
            let takes = "holds no key that is of use; it takes RSA (RS256), EC P-256 (ES256), Ed25519 \
                         (EdDSA) and oct (HS256, of 32 bytes at least) keys";
            return Err(ConfigError::new("AUTH_JWKS", takes));
        }
        Ok(Verifier { keys })
    }

    /// Finds the token of who wants to watch, and checks it.
    ///
    /// # Errors
    /// Where there is none, or it does not let the caller in.
    pub fn authenticate(
        &self,
        headers: &HeaderMap,
        url_token: Option<&str>,
    ) -> Result<Grant, TokenError> {
        if let Some(token) = header_token(headers).or_else(|| cookie_token(headers)) {
            return self.verify(token, READ).map(|(grant, _)| grant);
        }
        let (grant, life) = self.verify(url_token.ok_or(TokenError::Missing)?, READ)?;
        match life {
            Some(life) if life <= MAX_URL_TOKEN_LIFE => Ok(grant),
            _ => Err(TokenError::TooLongLived),
        }
    }

    /// Finds the token of who wants to send, and checks it. It stands in a header that no browser sends by
    /// itself.
    ///
    /// # Errors
    /// Where there is none, or it does not let the caller send.
    pub fn authenticate_sender(&self, headers: &HeaderMap) -> Result<Grant, TokenError> {
        let token = header_token(headers).ok_or(TokenError::MissingInHeaders)?;
        self.verify(token, WRITE).map(|(grant, _)| grant)
    }

    /// Checks a token; returns what it grants and its life (`exp - iat`), where it says so.
    fn verify(
        &self,
        token: &str,
        scope: &'static str,
    ) -> Result<(Grant, Option<Duration>), TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Invalid);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Invalid)?;
        if header.crit.is_some() {
            // What must be understood, is not: RFC 7515, section 4.1.11.
            return Err(TokenError::Invalid);
        }
        let mut candidates = self.keys.iter().filter(|key| match (&header.kid, &key.id) {
            (Some(named), Some(id)) => named == id,
            _ => true,
        });
        // The key decides the algorithm; what the header says has to agree.
        let decoded = candidates.find_map(|key| {
            jsonwebtoken::decode::<Claims>(token, &key.decoding, &key.validation).ok()
        });
        let claims = decoded.ok_or(TokenError::Invalid)?.claims;
        if claims.sub.is_empty() {
            // All of them would share one subject's limits.
            return Err(TokenError::Invalid);
        }
        if !claims.scope.holds(scope) {
            return Err(TokenError::Scope(scope));
        }
        let span = |seconds| Duration::try_from_secs_f64(seconds).ok();
        let life = claims.iat.and_then(|iat| span(claims.exp - iat));
        let expires_at = span(claims.exp).and_then(|exp| UNIX_EPOCH.checked_add(exp));
        let expires_at = expires_at.filter(|at| *at > SystemTime::now());
        let grant = Grant {
            subject: claims.sub,
            organization_id: claims.org,
            projects: claims.projects,
            queues: claims.queues,
            expires_at: expires_at.ok_or(TokenError::Invalid)?,
        };
        Ok((grant, life))
    }
}

/// The algorithm that a key signs by; `None` where it does not, or by none that is supported.
fn algorithm(jwk: &Jwk) -> Option<Algorithm> {
    let (algorithm, name) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        // RFC 7518, section 3.2: as long as the hash, at least. In base64url, without padding.
        AlgorithmParameters::OctetKey(key)
            if key.value.len() >= (MIN_HS256_BYTES * 4).div_ceil(3) =>
        {
            (Algorithm::HS256, KeyAlgorithm::HS256)
        }
        _ => return None,
    };
    let said = jwk.common.key_algorithm.as_ref();
    let signs = jwk.common.public_key_use != Some(PublicKeyUse::Encryption);
    (signs && said.is_none_or(|said| *said == name)).then_some(algorithm)
}

/// The token in `Authorization: Bearer`, else `X-Auth-Token`. Behind `CloudFront` with origin access
/// control, `Authorization` carries AWS's own signature.
fn header_token(headers: &HeaderMap) -> Option<&str> {
    let text = |name| headers.get(name)?.to_str().ok();
    let bearer = text(header::AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("bearer")
            .then_some(token.trim())
    });
    let x_auth_token = http::HeaderName::from_static("x-auth-token");
    bearer.or_else(|| text(x_auth_token).filter(|token| !token.is_empty()))
}

/// The token in the cookie `runcast_token`.
fn cookie_token(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(header::COOKIE).into_iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .find_map(|pair| pair.trim().strip_prefix("runcast_token="))
}
