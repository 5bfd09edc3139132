//! What must not be seen outside, or in a log.

use std::sync::LazyLock;

/// Parts of tokens and connection strings.
const SECRETS: [&str; 6] = [
    "eyJ",
    "://:",
    "redis://",
    "rediss://",
    "postgres://",
    "postgresql://",
];

/// What tells how the inside looks.
const INTERNALS: [&str; 14] = [
    "127.0.0.1",
    "localhost",
    "SELECT ",
    "INSERT ",
    "relation \"",
    "src/",
    ".rs:",
    "/root",
    "/tmp/",
    "panicked",
    "tokio",
    "hyper",
    "deadpool",
    "os error",
];

/// Where this checkout is.
static CHECKOUT: LazyLock<String> =
    LazyLock::new(|| crate::checkout("").to_string_lossy().into_owned());

/// Asserts that an answer tells nothing of the inside.
///
/// # Panics
/// When it does.
pub fn assert_discreet(answer: &str) {
    for word in SECRETS
        .iter()
        .chain(&INTERNALS)
        .copied()
        .chain([CHECKOUT.as_str()])
    {
        assert!(!answer.contains(word), "an answer says {word:?}: {answer}");
    }
}

/// The first line of a log that tells a secret.
#[must_use]
pub fn leak(log: &str) -> Option<&str> {
    log.lines()
        .find(|line| SECRETS.iter().any(|secret| line.contains(secret)))
}
