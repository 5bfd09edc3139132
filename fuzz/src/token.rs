//! Tokens that let in, and the key that signed them: a fuzzer cannot sign.

/// The key set of a function that accepts [`TOKENS`].
pub const JWKS: &str =
    r#"{"keys":[{"kty":"oct","alg":"HS256","k":"ZnV6emluZy1uZWVkcy1hLWtleS1vZi0zMi1ieXRlcyE"}]}"#;

/// The issuer of [`TOKENS`].
pub const ISSUER: &str = "i";

/// The audience of [`TOKENS`].
pub const AUDIENCE: &str = "a";

/// Tokens of organization `o` until 2100: short-lived enough for a URL, of project `p` only, and
/// too long-lived for a URL.
pub const TOKENS: [&str; 3] = [
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJmIiwib3JnIjoibyIsInNjb3BlIjoic3RhdHVzOnJlYWQiLCJpc3MiOiJpIiwiYXVkIjoiYSIsImV4cCI6NDEwMjQ0NDgwMCwiaWF0Ijo0MTAyNDQ0NTAwfQ.UL4H5KfeV7Y5mFXIRLlKnddlixSozza6OfUFgDvrnlE",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJmIiwib3JnIjoibyIsInNjb3BlIjoic3RhdHVzOnJlYWQiLCJpc3MiOiJpIiwiYXVkIjoiYSIsImV4cCI6NDEwMjQ0NDgwMCwiaWF0Ijo0MTAyNDQ0NTAwLCJwcm9qZWN0cyI6WyJwIl19.Z1ASIlePNV2CSQTK0oiXPB86SW09zmGr6QMFOygs4PI",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJmIiwib3JnIjoibyIsInNjb3BlIjoic3RhdHVzOnJlYWQiLCJpc3MiOiJpIiwiYXVkIjoiYSIsImV4cCI6NDEwMjQ0NDgwMCwiaWF0IjoxNzAwMDAwMDAwfQ.kaTdy0kJiJBFNqvCTxRmN5kp4mGK-qbT71G4RPbQ-EA",
];
