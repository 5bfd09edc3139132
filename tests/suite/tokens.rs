//! Tokens that must not let anyone in.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use integration::{checkout, eventually, free_port, jws, stack::Stack};
use reqwest::StatusCode;
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512,
        RSA_PSS_SHA256, RsaKeyPair,
    },
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::Instant,
};

/// What signs the tokens of this test.
struct Keys {
    rsa: Key,
    ec: Key,
    secret: Key,
    /// A key that nobody here knows.
    stranger: Key,
    /// The public RSA key as a secret: the classic confusion of algorithms.
    public_as_secret: Key,
}

enum Key {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Secret(Vec<u8>),
}

impl Key {
    /// A signature by an algorithm of RFC 7518.
    fn sign(&self, message: &[u8], algorithm: &str) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Key::Rsa(pair) => {
                let padding: &dyn ring::signature::RsaEncoding = match algorithm {
                    "RS256" => &RSA_PKCS1_SHA256,
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    other => panic!("{other}"),
                };
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(padding, &random, message, &mut signature)
                    .unwrap();
                signature
            }
            Key::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Key::Secret(secret) => {
                let hash = match algorithm {
                    "HS256" => hmac::HMAC_SHA256,
                    "HS512" => hmac::HMAC_SHA512,
                    other => panic!("{other}"),
                };
                let signature = hmac::sign(&hmac::Key::new(hash, secret), message);
                signature.as_ref().to_vec()
            }
        }
    }
}

impl Keys {
    fn read() -> Self {
        let file = |name| std::fs::read(checkout("tests/keys").join(name)).unwrap();
        let curve = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let ec = EcdsaKeyPair::from_pkcs8(curve, &file("ec.der"), &SystemRandom::new());
        Keys {
            rsa: Key::Rsa(RsaKeyPair::from_der(&file("rsa.der")).unwrap()),
            ec: Key::Ec(ec.unwrap()),
            secret: Key::Secret((0..32).collect()),
            stranger: Key::Rsa(RsaKeyPair::from_der(&file("stranger.der")).unwrap()),
            public_as_secret: Key::Secret(file("rsa.pub.pem")),
        }
    }
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap()
}

fn claims() -> Value {
    json!({
        "sub": "ann", "org": "demo", "scope": "status:read",
        "iss": "runcast-local", "aud": "runcast",
        "iat": now(), "exp": now() + 60,
    })
}

/// Good claims with others laid over them; null takes one away.
fn with(changes: Value) -> String {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims.to_string()
}

fn sign(header: &Value, payload: &str, key: &Key, algorithm: &str) -> String {
    jws(header, payload, |message| key.sign(message, algorithm))
}

/// Tokens, each with what is wrong with it.
#[expect(clippy::too_many_lines, reason = "a table")]
fn bad_tokens(keys: &Keys) -> Vec<(String, String)> {
    let mut bad = Vec::new();
    let rs256 = json!({"alg": "RS256", "typ": "JWT", "kid": "rsa"});
    let good = sign(&rs256, &claims().to_string(), &keys.rsa, "RS256");
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();

    for changes in [
        json!({"exp": now() - 60}),
        json!({"exp": now() - 1}),
        json!({"exp": 0}),
        json!({"exp": -1}),
        json!({"exp": "4102444800"}),
        json!({"exp": 1e300}),
        json!({"exp": [4_102_444_800_i64]}),
        json!({"exp": u64::MAX}),
        json!({"exp": null}),
        json!({"nbf": now() + 60}),
        json!({"nbf": "soon"}),
        json!({"iat": "today"}),
        json!({"iss": "someone"}),
        json!({"iss": null}),
        json!({"iss": 7}),
        json!({"aud": "another"}),
        json!({"aud": null}),
        json!({"aud": ["another"]}),
        json!({"aud": {}}),
        json!({"sub": null}),
        json!({"sub": 7}),
        json!({"org": null}),
        json!({"org": ""}),
        json!({"org": "*"}),
        json!({"org": "de mo"}),
        json!({"org": "demo:x"}),
        json!({"org": "demo\u{0}"}),
        json!({"org": "o".repeat(129)}),
        json!({"org": ["demo"]}),
        json!({"projects": "demo"}),
        json!({"projects": ["../x"]}),
        json!({"projects": [7]}),
        json!({"projects": {"demo": true}}),
        json!({"scope": null}),
        json!({"scope": ""}),
        json!({"scope": "status:write"}),
        json!({"scope": "status:reader"}),
        json!({"scope": "status"}),
        json!({"scope": ["status:write"]}),
        json!({"scope": 7}),
    ] {
        let token = sign(&rs256, &with(changes.clone()), &keys.rsa, "RS256");
        bad.push((format!("claims {changes}"), token));
    }

    let critical = json!({"alg": "RS256", "kid": "rsa", "crit": ["exp"], "exp": 1});
    let critical = sign(&critical, &claims().to_string(), &keys.rsa, "RS256");
    bad.push(("what must be understood".to_owned(), critical));

    for none in ["none", "None", "NONE", "nOnE", "", "null"] {
        let header = BASE64.encode(json!({"alg": none, "kid": "rsa"}).to_string());
        bad.push((format!("alg {none:?}"), format!("{header}.{payload}.")));
        bad.push((
            format!("alg {none:?}, signed"),
            format!("{header}.{payload}.{signature}"),
        ));
    }
    let text = claims().to_string();
    let mut signed = |what: &str, header: Value, key: &Key, algorithm| {
        bad.push((what.to_owned(), sign(&header, &text, key, algorithm)));
    };
    signed(
        "public key as secret",
        json!({"alg": "HS256", "kid": "rsa"}),
        &keys.public_as_secret,
        "HS256",
    );
    signed(
        "public key as secret, without kid",
        json!({"alg": "HS256"}),
        &keys.public_as_secret,
        "HS256",
    );
    signed(
        "the secret under another key's name",
        json!({"alg": "HS256", "kid": "rsa"}),
        &keys.secret,
        "HS256",
    );
    signed(
        "the right key, its name another's",
        json!({"alg": "RS256", "kid": "ec"}),
        &keys.rsa,
        "RS256",
    );
    signed(
        "an unknown key id",
        json!({"alg": "RS256", "kid": "nobody"}),
        &keys.rsa,
        "RS256",
    );
    signed("a stranger's key", rs256.clone(), &keys.stranger, "RS256");
    signed(
        "a stranger's key without a name",
        json!({"alg": "RS256"}),
        &keys.stranger,
        "RS256",
    );
    signed(
        "another hash than the key's",
        json!({"alg": "RS512", "kid": "rsa"}),
        &keys.rsa,
        "RS512",
    );
    signed(
        "another hash than the secret's",
        json!({"alg": "HS512", "kid": "shared"}),
        &keys.secret,
        "HS512",
    );
    signed(
        "PSS instead of PKCS #1",
        json!({"alg": "PS256", "kid": "rsa"}),
        &keys.rsa,
        "PS256",
    );
    signed(
        "a key set's address",
        json!({"alg": "RS256", "jku": "http://127.0.0.1:9/keys"}),
        &keys.stranger,
        "RS256",
    );
    signed(
        "a certificate's address",
        json!({"alg": "RS256", "kid": "rsa", "x5u": "http://127.0.0.1:9/c"}),
        &keys.stranger,
        "RS256",
    );
    signed(
        "its own key",
        json!({"alg": "HS256", "jwk": {"kty": "oct", "k": "AAAA"}}),
        &keys.public_as_secret,
        "HS256",
    );
    signed(
        "a path as key id",
        json!({"alg": "HS256", "kid": "../../dev/null"}),
        &keys.public_as_secret,
        "HS256",
    );
    signed(
        "SQL as key id",
        json!({"alg": "HS256", "kid": "x' OR '1'='1"}),
        &keys.public_as_secret,
        "HS256",
    );
    signed(
        "a number as key id",
        json!({"alg": "RS256", "kid": 7}),
        &keys.rsa,
        "RS256",
    );
    signed(
        "one algorithm said, another used",
        json!({"alg": "ES256", "kid": "ec"}),
        &keys.secret,
        "HS256",
    );

    let empty_ec = BASE64.encode(json!({"alg": "ES256", "kid": "ec"}).to_string());
    let zeroes = BASE64.encode([0_u8; 64]);
    for (what, token) in [
        (
            "an ECDSA signature of zeroes",
            format!("{empty_ec}.{payload}.{zeroes}"),
        ),
        ("no signature", format!("{message}.")),
        ("no signature and no dot", message.to_owned()),
        (
            "half a signature",
            format!("{message}.{}", &signature[..signature.len() / 2]),
        ),
        ("a padded signature", format!("{message}.{signature}==")),
        ("a signature and more", format!("{good}.{signature}")),
        (
            "another payload",
            format!(
                "{header}.{}.{signature}",
                BASE64.encode(with(json!({"org": "other"})))
            ),
        ),
        (
            "another header",
            format!(
                "{}.{payload}.{signature}",
                BASE64.encode(r#"{"alg":"RS256","kid":"rsa","x":1}"#)
            ),
        ),
        ("an empty payload", format!("{header}..{signature}")),
        ("an empty header", format!(".{payload}.{signature}")),
        ("dots", "..".to_owned()),
        ("five parts, as if encrypted", "a.b.c.d.e".to_owned()),
        ("no Base64", "!!!.???.***".to_owned()),
        ("standard Base64", good.replace(['-', '_'], "+") + "+/"),
        (
            "a payload that is no JSON",
            sign(&rs256, "not json", &keys.rsa, "RS256"),
        ),
        (
            "a payload that is a list",
            sign(&rs256, "[]", &keys.rsa, "RS256"),
        ),
        (
            "a payload that is null",
            sign(&rs256, "null", &keys.rsa, "RS256"),
        ),
        (
            "a header that is a list",
            sign(&json!([]), &text, &keys.rsa, "RS256"),
        ),
        (
            "a header without alg",
            sign(&json!({"kid": "rsa"}), &text, &keys.rsa, "RS256"),
        ),
        (
            "nesting",
            sign(
                &rs256,
                &format!("{}{}", "[".repeat(3000), "]".repeat(3000)),
                &keys.rsa,
                "RS256",
            ),
        ),
        (
            "one too large",
            sign(
                &rs256,
                &with(json!({"x": "y".repeat(9000)})),
                &keys.rsa,
                "RS256",
            ),
        ),
        ("a word", "token".to_owned()),
        ("a quoted token", format!("\"{good}\"")),
        ("two tokens", format!("{good},{good}")),
    ] {
        bad.push((what.to_owned(), token));
    }
    bad
}

#[tokio::test]
async fn no_bad_token_gets_in_and_none_takes_long() {
    let jwks = std::fs::read_to_string(checkout("tests/keys/jwks.json")).unwrap();
    // Keys that are of no use here cost the others nothing.
    let useless = r#"{"keys":[{"kty":"new","kid":"n"},{"kty":"oct","k":""},"#;
    let jwks = jwks
        .replacen('{', "", 1)
        .replacen(r#""keys": ["#, useless, 1);
    let stack = Stack::with(&[], &[("AUTH_JWKS", &jwks)]).await;
    stack.publish("job", "r", "passed").await;
    let keys = Keys::read();
    let client = reqwest::Client::new();
    let url = format!("{}/api/job-status/events/r", stack.url);
    let ask = async |token: &str| {
        let asked = Instant::now();
        let response = client.get(&url).header("X-Auth-Token", token).send().await;
        let response = response.unwrap();
        let status = response.status();
        let body = response.text().await.unwrap();
        (status, body, asked.elapsed())
    };

    let rsa = json!({"alg": "RS256"});
    let lives: serde_json::Number = format!("{}.5", now() + 60).parse().unwrap();
    let since: serde_json::Number = format!("{}.5", now() - 1).parse().unwrap();
    let fraction = with(json!({"iat": since, "exp": lives}));
    let fraction = sign(&rsa, &fraction, &keys.rsa, "RS256");
    assert_eq!(ask(&fraction).await.0, StatusCode::OK);

    let mut good = Vec::new();
    for (header, key, algorithm) in [
        (json!({"alg": "RS256", "kid": "rsa"}), &keys.rsa, "RS256"),
        (json!({"alg": "ES256", "kid": "ec"}), &keys.ec, "ES256"),
        (
            json!({"alg": "HS256", "kid": "shared"}),
            &keys.secret,
            "HS256",
        ),
        // Without a name, every key is tried.
        (json!({"alg": "RS256"}), &keys.rsa, "RS256"),
    ] {
        for _ in 0..5 {
            let token = sign(&header, &claims().to_string(), key, algorithm);
            let (status, _, took) = ask(&token).await;
            assert_eq!(status, StatusCode::OK, "{header}");
            good.push(took);
        }
    }
    good.sort();
    let good = good[good.len() / 2];

    let bad = bad_tokens(&keys);
    assert!(bad.len() >= 60, "{}", bad.len());
    for (what, token) in bad {
        let mut quickest = Duration::MAX;
        for _ in 0..3 {
            let (status, body, took) = ask(&token).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{what}: {body}");
            quickest = quickest.min(took);
        }
        assert!(
            quickest <= good * 3,
            "{what}: {quickest:?}, a good one {good:?}"
        );
    }
}

#[tokio::test]
async fn an_identity_provider_calls_its_claims_as_it_likes() {
    let jwks = std::fs::read_to_string(checkout("tests/keys/jwks.json")).unwrap();
    let stack = Stack::with(
        &[],
        &[
            ("AUTH_JWKS", &jwks),
            ("AUTH_CLAIM_ORG", "https://example.com/org"),
            ("AUTH_CLAIM_PROJECTS", "cognito:groups"),
            ("AUTH_CLAIM_SCOPE", "permissions"),
        ],
    )
    .await;
    stack.publish("job", "r", "passed").await;
    let keys = Keys::read();
    let ask = async |changes: Value| {
        let token = with(changes);
        let token = sign(&json!({"alg": "RS256"}), &token, &keys.rsa, "RS256");
        let url = format!("{}/api/job-status/events/r", stack.url);
        let request = reqwest::Client::new().get(url).bearer_auth(token);
        request.send().await.unwrap().status()
    };
    let org = "https://example.com/org";
    for (status, changes) in [
        (
            200,
            json!({org: "demo", "permissions": ["a", "status:read"]}),
        ),
        (
            200,
            json!({org: "demo", "permissions": "a status:read", "cognito:groups": "x demo"}),
        ),
        (
            200,
            json!({org: "demo", "permissions": "status:read", "cognito:groups": ["a/b c", "demo"]}),
        ),
        (
            404,
            json!({org: "demo", "permissions": "status:read", "cognito:groups": ["a/b c"]}),
        ),
        // Of another organization: nobody has reported it there.
        (200, json!({org: "other", "permissions": "status:read"})),
        // Ours say nothing here.
        (401, json!({"permissions": "status:read"})),
        (401, json!({org: "demo"})),
        (
            401,
            json!({org: "demo", "permissions": "status:read", "cognito:groups": 7}),
        ),
    ] {
        assert_eq!(ask(changes.clone()).await.as_u16(), status, "{changes}");
    }
}

/// Serves these documents by their paths.
async fn provider(port: u16, documents: Vec<(&'static str, String)>) {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            let path = request.split(' ').nth(1).unwrap_or_default();
            let found = documents.iter().find(|(it, _)| *it == path);
            let (status, body) = found.map_or((404, ""), |(_, body)| (200, body));
            let length = body.len();
            let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: {length}\r\n\r\n{body}");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
}

#[tokio::test]
async fn the_keys_of_an_issuer_are_fetched() {
    let port = free_port();
    let issuer = format!("http://127.0.0.1:{port}");
    let discovery = format!("{issuer}/.well-known/openid-configuration");
    let stack = Stack::with(&[], &[("AUTH_JWKS", &discovery)]).await;
    let keys = Keys::read();
    let token = |kid: &str, key: &Key| {
        let header = json!({"alg": "RS256", "kid": kid});
        sign(&header, &claims().to_string(), key, "RS256")
    };
    let ask = async |token: &str| {
        let url = format!("{}/api/job-status/events/r", stack.url);
        let request = reqwest::Client::new().get(url).bearer_auth(token);
        request.send().await.unwrap()
    };
    let good = token("rsa", &keys.rsa);
    let early = ask(&good).await;
    assert_eq!(early.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(early.headers().contains_key("retry-after"));
    let said = early.text().await.unwrap();
    assert!(
        !said.contains("127.0.0.1") && said.contains("checked"),
        "{said}"
    );

    let jwks = std::fs::read_to_string(checkout("tests/keys/jwks.json")).unwrap();
    let document = json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")});
    let documents = vec![
        ("/.well-known/openid-configuration", document.to_string()),
        ("/keys", jwks),
    ];
    provider(port, documents).await;
    eventually("the keys are fetched", async || {
        (ask(&good).await.status() == StatusCode::OK).then_some(())
    })
    .await;
    for (kid, key) in [("rsa", &keys.stranger), ("other", &keys.stranger)] {
        let status = ask(&token(kid, key)).await.status();
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{kid}");
    }
}
