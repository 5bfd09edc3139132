//! Labels: a few short words.

use serde_json::Value;

use super::{text::bounded, value::is_absent, warnings::Warnings};
use crate::execution::Labels;

const MAX_LABELS: usize = 16;
const MAX_KEY_BYTES: usize = 64;
const MAX_VALUE_BYTES: usize = 256;

/// The entries that can be kept; none where none of them can.
pub(super) fn labels(value: &Value, warnings: &mut Warnings) -> Option<Labels> {
    let Value::Object(entries) = value else {
        warnings.left_out("labels", value, "labels are an object of strings");
        return None;
    };
    let mut labels = Labels::new();
    for (key, value) in entries {
        let field = format!("labels.{}", super::warnings::quoted(key));
        let text = match value {
            value if is_absent(value) => continue,
            Value::String(text) => text.clone(),
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => {
                warnings.left_out(field, value, "a label is a string, a number or a boolean");
                continue;
            }
        };
        if !(1..=MAX_KEY_BYTES).contains(&key.len()) {
            let taken = format!("a label's name has 1 to {MAX_KEY_BYTES} bytes");
            warnings.left_out(field, value, &taken);
        } else if labels.len() == MAX_LABELS {
            let taken = format!("at most {MAX_LABELS} labels are taken");
            warnings.left_out(field, value, &taken);
        } else {
            let text = bounded(&field, text, MAX_VALUE_BYTES, warnings);
            labels.insert(key.clone(), text);
        }
    }
    (entries.is_empty() || !labels.is_empty()).then_some(labels)
}
