//! What rows and parameters of the log are in Rust.

use std::str::FromStr;

use tokio_postgres::{
    Row,
    types::{FromSql, Type},
};

use super::LogError;
use crate::execution::{Id, Key, Seq};

pub(super) fn id(row: &Row, column: &str) -> Result<Id, LogError> {
    word(row.try_get(column)?)
}

/// The name of a row's execution.
pub(super) fn key(row: &Row) -> Result<Key, LogError> {
    Ok(Key {
        kind: word(row.try_get("kind")?)?,
        id: id(row, "id")?,
        organization_id: id(row, "organization_id")?,
    })
}

pub(super) fn word<T: FromStr<Err: ToString>>(text: &str) -> Result<T, LogError> {
    let read = text.parse();
    read.map_err(|error: T::Err| LogError::Row(error.to_string()))
}

pub(super) fn seq(row: &Row, column: &str) -> Result<Seq, LogError> {
    let number: i64 = row.try_get(column)?;
    let number = u64::try_from(number).map_err(|_| LogError::Row(format!("{column} {number}")));
    number.map(Seq)
}

/// The track, counted from 0.
pub(super) fn track(row: &Row) -> Result<usize, LogError> {
    let track = seq(row, "track")?.0;
    usize::try_from(track).map_err(|_| LogError::Row(format!("track {track}")))
}

pub(super) fn is_null(row: &Row, column: &str) -> bool {
    /// Accepts a value of any type, unread.
    struct Present;
    impl FromSql<'_> for Present {
        fn from_sql(_: &Type, _: &[u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
            Ok(Present)
        }
        fn accepts(_: &Type) -> bool {
            true
        }
    }
    matches!(row.try_get::<_, Option<Present>>(column), Ok(None))
}

pub(super) fn to_sql(seq: Seq) -> i64 {
    i64::try_from(seq.0).unwrap_or(i64::MAX)
}
