//! An update's object, member by member, so that one which cannot be read does not cost the others.

use std::collections::BTreeMap;

use serde_json::{Value, error::Category, value::RawValue};

use super::{Invalid, warnings::quoted};

/// How much is quoted of what stands before a fault, in bytes.
const MAX_BEFORE: usize = 40;

const EXAMPLE: &str = "an update is a JSON object: {\"eventId\", \"kind\", \"id\", \
                       \"organizationId\", \"projectId\", \"status\", …}";

/// The members of an update by name; of one that comes twice, the last.
pub(super) struct Members<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Members<'a> {
    pub(super) fn read(json: &'a str) -> Result<Self, Invalid> {
        let malformed = |what: String| Invalid::Malformed(format!("{what}; {EXAMPLE}"));
        if json.trim().is_empty() {
            return Err(malformed("an empty text".to_owned()));
        }
        if !json.trim_start().starts_with('{') {
            return Err(malformed(format!("{} is no object", quoted(json.trim()))));
        }
        serde_json::from_str(json)
            .map(Members)
            .map_err(|error| malformed(fault(json, &error)))
    }

    /// The text of a member.
    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).map(|raw| raw.get())
    }

    /// A member that is a string.
    pub(super) fn string(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.text(name)?).ok()
    }

    /// A member; as its text where it is JSON that cannot be held: a number like `1e400`, or lists
    /// within lists, more than 127 deep.
    pub(super) fn value(&self, name: &str) -> Option<Result<Value, &'a str>> {
        let text = self.text(name)?;
        Some(serde_json::from_str(text).map_err(|_| text))
    }
}

/// Where a text ceases to be JSON.
fn fault(json: &str, error: &serde_json::Error) -> String {
    let lines = json
        .split_inclusive('\n')
        .take(error.line().saturating_sub(1));
    let offset = lines.map(str::len).sum::<usize>() + error.column();
    let end = json.floor_char_boundary(offset);
    let begin = json.ceil_char_boundary(end.saturating_sub(MAX_BEFORE));
    let before = quoted(json.get(begin..end).unwrap_or_default());
    match error.classify() {
        Category::Eof => format!("not JSON, it breaks off after {before}"),
        Category::Io | Category::Syntax | Category::Data => {
            format!("not JSON, at the end of {before}")
        }
    }
}
