//! Texts that are cut where they are too long.

use serde_json::Value;

use super::{
    MAX_ERROR_BYTES,
    value::{is_absent, text},
    warnings::Warnings,
};

/// The longest name, suite or file, in bytes.
pub(super) const MAX_NAME_BYTES: usize = 512;

/// The mark of what was cut.
const CUT: char = '…';

/// A name for people.
pub(super) fn name(field: &str, value: &Value, warnings: &mut Warnings) -> Option<String> {
    match text(value) {
        Ok(text) => Some(bounded(field, text, MAX_NAME_BYTES, warnings)),
        Err(taken) => {
            warnings.left_out(field, value, taken);
            None
        }
    }
}

/// A suite's name, or the names of the suites that it is in, the outermost first.
pub(super) fn suite(value: &Value, warnings: &mut Warnings) -> Option<String> {
    if let Value::String(_) = value {
        return name("suite", value, warnings);
    }
    let names = strings("suite", value, warnings)?.join(" › ");
    Some(bounded("suite", names, MAX_NAME_BYTES, warnings))
}

/// A list of strings; a single one is a list of one. None where none of its entries can be read.
pub(super) fn strings(field: &str, value: &Value, warnings: &mut Warnings) -> Option<Vec<String>> {
    if let Value::String(text) = value {
        return Some(vec![text.clone()]);
    }
    let Value::Array(entries) = value else {
        warnings.left_out(field, value, "a string or a list of strings is taken");
        return None;
    };
    let mut strings = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        match entry {
            Value::String(text) if !is_absent(entry) => strings.push(text.clone()),
            entry if is_absent(entry) => {}
            entry => {
                let field = format_args!("{field}[{index}]");
                warnings.left_out(field, entry, "a string is taken");
            }
        }
    }
    (entries.is_empty() || !strings.is_empty()).then_some(strings)
}

/// A text of at most so many bytes, with a mark where it was cut.
pub(super) fn bounded(
    field: &str,
    mut text: String,
    max_bytes: usize,
    warnings: &mut Warnings,
) -> String {
    let length = text.len();
    if length > max_bytes {
        let done = format!("{length} bytes are too many: at most {max_bytes} are kept; cut");
        warnings.changed(field, Value::from(text.as_str()), &done);
        text.truncate(text.floor_char_boundary(max_bytes - CUT.len_utf8()));
        text.push(CUT);
    }
    text
}

/// An error's text; of one that is no string, its JSON.
pub(super) fn error_of(value: &Value) -> String {
    error(text(value).unwrap_or_else(|_| value.to_string()))
}

/// An error's text, cut with a mark.
pub(super) fn error(mut text: String) -> String {
    let length = text.len();
    if length > MAX_ERROR_BYTES {
        text.truncate(text.floor_char_boundary(MAX_ERROR_BYTES));
        text.push_str(&format!("{CUT} [cut: {length} bytes in all]"));
    }
    text
}
