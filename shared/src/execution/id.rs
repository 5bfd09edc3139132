//! Ids: what may stand in a path, a Redis channel and SQL.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, de};

use super::InvalidWord;

/// The id of an execution, organization or project: `[A-Za-z0-9_-]{1,128}`.
///
/// Cheap to clone. Anything else is refused here, before it can touch Redis, SQL or a log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Id(Arc<str>);

impl Id {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Id {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if (1..=128).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Id(text.into()))
        } else {
            Err(InvalidWord(
                "an id is 1 to 128 of the characters A-Z, a-z, 0-9, _ and -".to_owned(),
            ))
        }
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_with_another_character_is_refused() {
        let long = "x".repeat(129);
        for bad in ["", "a:b", "a b", "ä", "a\n", "../a", &long] {
            assert!(bad.parse::<Id>().is_err(), "{bad:?}");
        }
        assert!("x".repeat(128).parse::<Id>().is_ok());
    }
}
