//! Tokens: JSON Web Tokens (RFC 7519), checked by the keys of a JSON Web Key Set.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, header};
use jsonwebtoken::{Header, dangerous::insecure_decode_claims};
use serde::Deserialize;
use serde_json::{Map, Value};
use thiserror::Error;

use super::{
    grant::Grant,
    keys::{Key, Keys, Ring},
    signature,
    verified::Verified,
};
use crate::{
    config::{self, ConfigError},
    execution::Id,
};

/// The longest token that is looked at, in bytes.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// The longest life of a token that may stand in a URL, where logs and histories keep it.
const MAX_URL_TOKEN_LIFE: Duration = Duration::from_mins(5);

/// The scope that a token needs to watch.
const READ: &str = "status:read";

/// The scope that a token needs to send.
const WRITE: &str = "status:write";

/// Checks tokens.
#[derive(Debug)]
pub struct Verifier {
    authorities: Vec<Authority>,
    names: config::Claims,
    verified: Verified,
}

/// Who signs tokens.
#[derive(Debug)]
struct Authority {
    issuers: Vec<String>,
    keys: Keys,
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
    /// The keys that it may be signed by cannot be fetched now.
    #[error("Tokens cannot be checked now: try again soon.")]
    NoKeys,
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
    queues: Option<Vec<String>>,
    /// A `NumericDate` may have a fraction (RFC 7519, section 2).
    exp: f64,
    iat: Option<f64>,
    /// What may be called otherwise.
    #[serde(flatten)]
    named: Map<String, Value>,
}

impl Claims {
    fn text(&self, name: &str) -> Option<&str> {
        self.named.get(name)?.as_str()
    }

    /// The projects of a claim. Ours is a list of ids; groups of an identity provider may be named in ways
    /// in which no project is.
    fn projects(&self, name: &str) -> Result<Option<Vec<Id>>, TokenError> {
        if name == config::Claims::PROJECTS {
            let projects = self.named.get(name).filter(|projects| !projects.is_null());
            let projects = projects.map(Vec::deserialize).transpose();
            return projects.map_err(|_| TokenError::Invalid);
        }
        let words = self.words(name)?;
        Ok(words.map(|words| {
            words
                .into_iter()
                .filter_map(|word| word.parse().ok())
                .collect()
        }))
    }

    /// The words of a claim: a list, or as RFC 8693 has `scope`, words in one string. `None` where there
    /// is none, and an error where it is neither.
    fn words(&self, name: &str) -> Result<Option<Vec<&str>>, TokenError> {
        match self.named.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(words)) => {
                let words = words.split(' ').filter(|word| !word.is_empty());
                Ok(Some(words.collect()))
            }
            Some(Value::Array(list)) => {
                let words: Option<_> = list.iter().map(Value::as_str).collect();
                words.map(Some).ok_or(TokenError::Invalid)
            }
            Some(_) => Err(TokenError::Invalid),
        }
    }
}

impl Verifier {
    /// A verifier for the configured keys.
    ///
    /// # Errors
    /// Where none is of a kind that is supported.
    pub fn new(access: &config::Access) -> Result<Self, ConfigError> {
        signature::by_ring();
        let authorities = access.authorities.iter().map(|authority| {
            Ok(Authority {
                issuers: authority.issuers.clone(),
                keys: Keys::new(authority, &access.audience)?,
            })
        });
        Ok(Verifier {
            authorities: authorities.collect::<Result<_, ConfigError>>()?,
            names: access.claims.clone(),
            verified: Verified::default(),
        })
    }

    /// Finds the token of who wants to watch, and checks it.
    ///
    /// # Errors
    /// Where there is none, or it does not let the caller in.
    pub async fn authenticate(
        &self,
        headers: &HeaderMap,
        url_token: Option<&str>,
    ) -> Result<Grant, TokenError> {
        if let Some(token) = header_token(headers).or_else(|| cookie_token(headers)) {
            return self.verify(token, READ).await.map(|(grant, _)| grant);
        }
        let token = url_token.ok_or(TokenError::Missing)?;
        let (grant, life) = self.verify(token, READ).await?;
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
    pub async fn authenticate_sender(&self, headers: &HeaderMap) -> Result<Grant, TokenError> {
        let token = header_token(headers).ok_or(TokenError::MissingInHeaders)?;
        self.verify(token, WRITE).await.map(|(grant, _)| grant)
    }

    /// Checks a token; returns what it grants and its life (`exp - iat`), where it says so.
    async fn verify(
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
        let keys = self.keys_of(token)?;
        let ring = keys.current().await.map_err(|_| TokenError::NoKeys)?;
        if let Some(known) = self.verified.get(token, scope, &ring) {
            return Ok(known);
        }
        let (ring, found) = self.check(token, &header, scope, (keys, ring)).await?;
        self.verified.keep(token, scope, ring, found.clone());
        Ok(found)
    }

    /// The keys of whom a token says it is. That it is so, they show.
    fn keys_of(&self, token: &str) -> Result<&Keys, TokenError> {
        #[derive(Deserialize)]
        struct Said {
            iss: String,
        }
        if let [only] = &self.authorities[..] {
            return Ok(&only.keys);
        }
        let said: Said = insecure_decode_claims(token).map_err(|_| TokenError::Invalid)?;
        let its = |authority: &&Authority| authority.issuers.contains(&said.iss);
        let authority = self.authorities.iter().find(its);
        Ok(&authority.ok_or(TokenError::Invalid)?.keys)
    }

    /// Checks a token that is not known yet; returns by which keys, too.
    async fn check(
        &self,
        token: &str,
        header: &Header,
        scope: &'static str,
        (keys, mut ring): (&Keys, Ring),
    ) -> Result<(Ring, (Grant, Option<Duration>)), TokenError> {
        let names = |key: &Key| header.kid.is_some() && key.id == header.kid;
        if header.kid.is_some() && !ring.iter().any(names) {
            // It may have been made since.
            ring = keys.renewed(&ring).await.unwrap_or(ring);
        }
        let mut candidates = ring.iter().filter(|key| match (&header.kid, &key.id) {
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
        let scopes = claims.words(&self.names.scope)?.unwrap_or_default();
        if !scopes.contains(&scope) {
            return Err(TokenError::Scope(scope));
        }
        let organization_id = claims
            .text(&self.names.org)
            .and_then(|org| org.parse().ok());
        let projects = claims.projects(&self.names.projects)?;
        let span = |seconds| Duration::try_from_secs_f64(seconds).ok();
        let life = claims.iat.and_then(|iat| span(claims.exp - iat));
        let expires_at = span(claims.exp).and_then(|exp| UNIX_EPOCH.checked_add(exp));
        let expires_at = expires_at.filter(|at| *at > SystemTime::now());
        let grant = Grant {
            subject: claims.sub,
            organization_id: organization_id.ok_or(TokenError::Invalid)?,
            projects,
            queues: claims.queues,
            expires_at: expires_at.ok_or(TokenError::Invalid)?,
        };
        Ok((ring, (grant, life)))
    }
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
