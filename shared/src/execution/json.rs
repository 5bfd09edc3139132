//! JSON that stands on one line for every reader.

use std::borrow::Cow;

/// The characters that JSON leaves as they are, and some readers of lines take for the end of one: clients
/// that split a stream as Python's `str.splitlines` does (httpx-sse, sseclient, requests) would cut the
/// data there. Those below U+0020 JSON escapes itself.
const LINE_ENDS: [(char, &str); 3] = [
    ('\u{85}', "\\u0085"),
    ('\u{2028}', "\\u2028"),
    ('\u{2029}', "\\u2029"),
];

/// The same JSON without a character that ends a line. Such a one can only stand in a string, where its
/// escape means the same.
#[must_use]
pub fn in_one_line(json: &str) -> Cow<'_, str> {
    let ends_line = |c: char| LINE_ENDS.iter().any(|(end, _)| *end == c);
    // Most are ASCII, which is seen much faster.
    if json.is_ascii() || !json.contains(ends_line) {
        return Cow::Borrowed(json);
    }
    let mut escaped = json.to_owned();
    for (end, escape) in LINE_ENDS {
        escaped = escaped.replace(end, escape);
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Where Python's `str.splitlines` splits.
    const ENDS: &str = "\n\r\u{b}\u{c}\u{1c}\u{1d}\u{1e}\u{85}\u{2028}\u{2029}";

    #[test]
    fn json_is_one_line_for_every_reader_and_means_the_same() {
        let said = Value::from(format!("Größe{ENDS}🚀\u{84}\u{2027}\u{202a}"));
        let json = said.to_string();
        let line = in_one_line(&json);
        assert!(!line.contains(|c| ENDS.contains(c)), "{line}");
        assert!(line.contains("Größe") && line.contains("\u{84}\u{2027}\u{202a}"));
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), said);
    }

    #[test]
    fn what_is_one_line_already_is_not_copied() {
        for json in ["{\"a\":1}", "{\"a\":\"Größe\"}"] {
            assert!(matches!(in_one_line(json), Cow::Borrowed(_)), "{json}");
        }
    }
}
