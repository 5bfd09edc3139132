//! The keys that sign tokens: given, or fetched from where an identity provider serves them.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, Validation,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;
use tokio::time::timeout;

use super::signature;
use crate::{
    cause,
    client::{self, ConnectError},
    config::{self, ConfigError, Jwks},
};

/// How long a fetch may take, and how large an answer may be.
const FETCH_TIMEOUT: Duration = Duration::from_secs(2);
const MAX_ANSWER: usize = 64 * 1024;

/// When keys are fetched.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// After which time they are fetched again.
    fresh: Duration,
    /// For how long they are good while they cannot be.
    good: Duration,
    /// How often at most: anyone can name a key that there is not.
    between: Duration,
    /// The same while there is none at all.
    between_first: Duration,
}

const PACE: Pace = Pace {
    fresh: Duration::from_hours(1),
    good: Duration::from_hours(24),
    between: Duration::from_mins(1),
    between_first: Duration::from_secs(1),
};

/// The shortest key of HS256, as long as the hash: RFC 7518, section 3.2.
const MIN_HS256_BYTES: usize = 32;

/// The shortest modulus of RS256: RFC 7518, section 3.3.
const MIN_RSA_BYTES: usize = 2048 / 8;

/// How far clocks may differ where a token begins to be valid. It ends when it says so.
const LEEWAY: Duration = Duration::from_secs(5);

/// A key.
pub(super) struct Key {
    pub(super) id: Option<String>,
    pub(super) decoding: DecodingKey,
    pub(super) validation: Validation,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Keys, as they are known now.
pub(super) type Ring = Arc<Vec<Key>>;

/// There are no keys now.
#[derive(Debug)]
pub(super) struct NoKeys;

/// Where the keys come from.
#[derive(Debug)]
pub(super) enum Keys {
    Given(Ring),
    Served(Arc<Served>),
}

/// Keys that somebody serves.
#[derive(Debug)]
pub(super) struct Served {
    uri: Uri,
    issuers: Vec<String>,
    audience: String,
    pace: Pace,
    known: Mutex<Known>,
    /// Held while they are fetched: who comes meanwhile waits for the same.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug, Default)]
struct Known {
    ring: Option<Ring>,
    fetched_at: Option<SystemTime>,
    tried_at: Option<SystemTime>,
}

/// Why keys could not be fetched.
#[derive(Debug, Error)]
enum FetchError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("failed to ask")]
    Ask(#[from] hyper::Error),
    #[error("failed to read the answer: {0}")]
    Read(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the answer is {0}")]
    Refused(http::StatusCode),
    #[error("no answer within {} s", FETCH_TIMEOUT.as_secs())]
    TimedOut(#[from] tokio::time::error::Elapsed),
    #[error("it is no key set, nor does it say where one is")]
    Unreadable,
    #[error("its jwks_uri is neither https:// nor of this machine")]
    Address,
    #[error("it holds no key that is of use")]
    NoKey,
}

impl Keys {
    pub(super) fn new(authority: &config::Authority, audience: &str) -> Result<Self, ConfigError> {
        let uri = match &authority.jwks {
            Jwks::Given(given) => {
                let keys = keys(given.expose(), &authority.issuers, audience);
                if keys.is_empty() {
                    let takes = "holds no key that is of use; it takes RSA (RS256, of 2,048 bits at least), EC P-256 (ES256), \
                                 Ed25519 (EdDSA) and oct (HS256, of 32 bytes at least) keys";
                    return Err(ConfigError::new("AUTH_JWKS", takes));
                }
                return Ok(Keys::Given(Arc::new(keys)));
            }
            Jwks::Served(uri) => uri.clone(),
        };
        let served = Arc::new(Served {
            uri,
            issuers: authority.issuers.clone(),
            audience: audience.to_owned(),
            pace: PACE,
            known: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
        });
        // The first token shall find them.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let served = served.clone();
            runtime.spawn(async move { served.fetch(served.pace.between_first).await });
        }
        Ok(Keys::Served(served))
    }

    /// The keys that are good now.
    pub(super) async fn current(&self) -> Result<Ring, NoKeys> {
        let served = match self {
            Keys::Given(ring) => return Ok(ring.clone()),
            Keys::Served(served) => served,
        };
        match served.known(served.pace.fresh) {
            Some(ring) => Ok(ring),
            None => match served.known(served.pace.good) {
                Some(ring) => {
                    let served = served.clone();
                    tokio::spawn(async move { served.fetch(served.pace.between).await });
                    Ok(ring)
                }
                None => {
                    served.fetch(served.pace.between_first).await;
                    served.known(served.pace.good).ok_or(NoKeys)
                }
            },
        }
    }

    /// The keys once more, where a token names one that is not among them; `None` where they are the same.
    pub(super) async fn renewed(&self, known: &Ring) -> Option<Ring> {
        let Keys::Served(served) = self else {
            return None;
        };
        served.fetch(served.pace.between).await;
        served
            .known(served.pace.good)
            .filter(|ring| !Arc::ptr_eq(ring, known))
    }
}

impl Served {
    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keys, where they are not older than this.
    fn known(&self, most: Duration) -> Option<Ring> {
        let known = self.lock().clone();
        is_within(known.fetched_at, most)
            .then_some(known.ring)
            .flatten()
    }

    /// Fetches them, unless that was tried within this time.
    async fn fetch(&self, between: Duration) {
        let _fetching = self.fetching.lock().await;
        if is_within(self.lock().tried_at, between) {
            return;
        }
        self.lock().tried_at = Some(SystemTime::now());
        let fetched = timeout(FETCH_TIMEOUT, self.try_fetch()).await;
        match fetched.unwrap_or_else(|elapsed| Err(elapsed.into())) {
            Ok(keys) => {
                let mut known = self.lock();
                known.ring = Some(Arc::new(keys));
                known.fetched_at = Some(SystemTime::now());
            }
            Err(error) => {
                metrics::counter!("KeyFetchFailures").increment(1);
                tracing::error!(
                    error = cause::chain(&error),
                    "the keys of AUTH_JWKS cannot be fetched"
                );
            }
        }
    }

    async fn try_fetch(&self) -> Result<Vec<Key>, FetchError> {
        #[derive(Deserialize)]
        struct Document {
            keys: Option<Vec<Value>>,
            /// Of an issuer's discovery document: <https://openid.net/specs/openid-connect-discovery-1_0.html>.
            jwks_uri: Option<String>,
        }
        let read = |body: Bytes| -> Result<Document, FetchError> {
            serde_json::from_slice(&body).map_err(|_| FetchError::Unreadable)
        };
        let mut document = read(get(&self.uri).await?)?;
        if let (None, Some(uri)) = (&document.keys, &document.jwks_uri) {
            let uri = config::served_at(uri).ok_or(FetchError::Address)?;
            document = read(get(&uri).await?)?;
        }
        let given = document.keys.ok_or(FetchError::Unreadable)?;
        let keys = keys(&given, &self.issuers, &self.audience);
        if keys.is_empty() {
            return Err(FetchError::NoKey);
        }
        Ok(keys)
    }
}

/// Whether this is not longer ago. By the clock on the wall: a frozen process has no other.
fn is_within(at: Option<SystemTime>, most: Duration) -> bool {
    at.and_then(|at| at.elapsed().ok())
        .is_some_and(|age| age < most)
}

/// Gets a document. No redirect is followed.
async fn get(uri: &Uri) -> Result<Bytes, FetchError> {
    let mut sender = client::connect(uri, None).await?;
    let request = Request::get(uri)
        .header(header::ACCEPT, "application/json")
        .body(Empty::<Bytes>::new());
    let request = client::to_origin(request.map_err(|_| FetchError::Address)?)?;
    let answer = sender.send_request(request).await?;
    if answer.status() != http::StatusCode::OK {
        return Err(FetchError::Refused(answer.status()));
    }
    let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
    Ok(body.map_err(FetchError::Read)?.to_bytes())
}

/// The keys of a set that are of use. Others, unknown or for encryption, cost these nothing: RFC 7517,
/// section 5.
fn keys(given: &[Value], issuers: &[String], audience: &str) -> Vec<Key> {
    let keys = given.iter().filter_map(|key| {
        let jwk = Jwk::deserialize(key).ok()?;
        let algorithm = algorithm(&jwk)?;
        let mut validation = Validation::new(algorithm);
        validation.set_issuer(issuers);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.validate_nbf = true;
        validation.leeway = LEEWAY.as_secs();
        let decoding = DecodingKey::from_jwk(&jwk).ok()?;
        Some(Key {
            decoding: is_long_enough(&decoding).then_some(decoding)?,
            id: jwk.common.key_id,
            validation,
        })
    });
    let keys: Vec<_> = keys.collect();
    let unused = given.len() - keys.len();
    if unused > 0 {
        tracing::warn!(unused, "keys of AUTH_JWKS are of no use here");
    }
    keys
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
        AlgorithmParameters::OctetKey(_) => (Algorithm::HS256, KeyAlgorithm::HS256),
        _ => return None,
    };
    let said = jwk.common.key_algorithm.as_ref();
    let signs = jwk.common.public_key_use != Some(PublicKeyUse::Encryption);
    (signs && said.is_none_or(|said| *said == name)).then_some(algorithm)
}

/// Whether nobody can guess it.
fn is_long_enough(key: &DecodingKey) -> bool {
    match key.kind() {
        DecodingKeyKind::RsaModulusExponent { n, .. } => {
            signature::modulus(n).len() >= MIN_RSA_BYTES
        }
        DecodingKeyKind::SecretOrDer(secret) => {
            key.family() != AlgorithmFamily::Hmac || secret.len() >= MIN_HS256_BYTES
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        time::sleep,
    };

    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    /// Serves keys, or whatever else.
    #[derive(Clone, Default)]
    struct Provider {
        answer: Arc<Mutex<(Duration, String)>>,
        asked: Arc<AtomicUsize>,
    }

    impl Provider {
        async fn start(&self) -> Uri {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let address = listener.local_addr().unwrap();
            let provider = self.clone();
            tokio::spawn(async move {
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let mut request = [0; 4096];
                    let _ = stream.read(&mut request).await;
                    provider.asked.fetch_add(1, Ordering::Relaxed);
                    let (delay, answer) = provider.answer.lock().unwrap().clone();
                    sleep(delay).await;
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            });
            format!("http://{address}/keys").parse().unwrap()
        }

        fn says(&self, answer: &str) {
            self.answer.lock().unwrap().1 = answer.to_owned();
        }

        fn serves(&self, key: &str) {
            let jwk = format!(r#"{{"kty":"oct","kid":"{key}","k":"{}"}}"#, "A".repeat(43));
            self.says(&ok(&format!(r#"{{"keys":[{jwk}]}}"#)));
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::Relaxed)
        }
    }

    fn ok(body: &str) -> String {
        let length = body.len();
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}")
    }

    async fn served(provider: &Provider, pace: Pace) -> Keys {
        Keys::Served(Arc::new(Served {
            uri: provider.start().await,
            issuers: vec!["i".to_owned()],
            audience: "a".to_owned(),
            pace,
            known: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
        }))
    }

    fn pace(fresh: Duration, good: Duration, between: Duration) -> Pace {
        Pace {
            fresh,
            good,
            between,
            between_first: Duration::ZERO,
        }
    }

    fn names(ring: &Ring) -> Vec<&str> {
        ring.iter().filter_map(|key| key.id.as_deref()).collect()
    }

    #[tokio::test]
    async fn keys_rotate_and_a_flood_of_names_fetches_once() {
        let provider = Provider::default();
        provider.serves("one");
        let keys = served(&provider, pace(LONG, LONG, Duration::from_millis(300))).await;
        let ring = keys.current().await.unwrap();
        assert_eq!(names(&ring), ["one"]);
        provider.serves("two");
        let all = (0..100).map(|_| keys.renewed(&ring));
        let renewed = futures_util::future::join_all(all).await;
        assert!(
            renewed.iter().all(Option::is_none),
            "it was fetched just now"
        );
        assert_eq!(provider.asked(), 1);
        sleep(Duration::from_millis(350)).await;
        let all = (0..100).map(|_| keys.renewed(&ring));
        for renewed in futures_util::future::join_all(all).await {
            assert_eq!(names(&renewed.unwrap()), ["two"]);
        }
        assert_eq!(provider.asked(), 2);
    }

    #[tokio::test]
    async fn what_is_known_is_good_while_nothing_can_be_fetched() {
        let provider = Provider::default();
        provider.serves("one");
        let good = Duration::from_millis(600);
        let keys = served(&provider, pace(Duration::ZERO, good, Duration::ZERO)).await;
        keys.current().await.unwrap();
        for garbage in [
            ok("<html>"),
            ok(r#"{"keys":[]}"#),
            ok(r#"{"keys":[{"kty":"new"}]}"#),
            ok(r#"{"jwks_uri":"http://example.com/keys"}"#),
            ok(&format!(
                r#"{{"keys":[],"more":"{}"}}"#,
                "x".repeat(MAX_ANSWER)
            )),
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n"
                .to_owned(),
            "HTTP/1.1 503 Away\r\nContent-Length: 0\r\n\r\n".to_owned(),
            "nothing of HTTP".to_owned(),
            String::new(),
        ] {
            provider.says(&garbage);
            let ring = keys.current().await.unwrap();
            assert_eq!(names(&ring), ["one"], "{garbage}");
            assert!(keys.renewed(&ring).await.is_none(), "{garbage}");
        }
        sleep(good).await;
        assert!(keys.current().await.is_err(), "that was too long ago");
        provider.serves("two");
        assert_eq!(names(&keys.current().await.unwrap()), ["two"]);
    }

    #[tokio::test]
    async fn who_does_not_answer_is_waited_for_no_longer_than_two_seconds() {
        let provider = Provider::default();
        provider.serves("one");
        provider.answer.lock().unwrap().0 = Duration::from_secs(30);
        let keys = served(&provider, pace(LONG, LONG, LONG)).await;
        let answered = timeout(Duration::from_secs(10), keys.current()).await;
        assert!(answered.unwrap().is_err());
    }
}
