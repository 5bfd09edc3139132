//! Characters that JSON can escape and that no text can hold.

use std::borrow::Cow;

/// The same JSON with U+FFFD for every escape of half a character (`\ud83d` alone: what is left of
/// an emoji that was cut in two) or of NUL. `serde_json` refuses the former, Postgres the latter.
#[must_use]
pub fn legible(json: &str) -> Cow<'_, str> {
    let mut legible = String::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(found) = json.get(at..).and_then(|rest| rest.find('\\')) {
        let begin = at + found;
        let (length, is_legible) = escape(json.get(begin..).unwrap_or_default());
        at = begin + length;
        if !is_legible {
            legible.push_str(json.get(copied..begin).unwrap_or_default());
            legible.push_str("\\ufffd");
            copied = at;
        }
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    legible.push_str(json.get(copied..).unwrap_or_default());
    Cow::Owned(legible)
}

/// How long the escape is that a text begins with, and whether a text can hold what it stands for.
fn escape(text: &str) -> (usize, bool) {
    match code_unit(text) {
        None => (2, true),
        Some(0 | 0xdc00..=0xdfff) => (6, false),
        Some(0xd800..=0xdbff) => match text.get(6..).and_then(code_unit) {
            Some(0xdc00..=0xdfff) => (12, true),
            _ => (6, false),
        },
        Some(_) => (6, true),
    }
}

fn code_unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let are_digits = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let unit = u16::from_str_radix(digits, 16).ok()?;
    are_digits.then_some(unit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn half_a_character_becomes_the_mark_for_one() {
        for (json, made) in [
            (r#""\ud83d""#, r#""\ufffd""#),
            (r#""\uDE00!""#, r#""\ufffd!""#),
            (r#"{"\uD83D":1}"#, r#"{"\ufffd":1}"#),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\ude00\ud83d""#, r#""\ufffd\ufffd""#),
            (r#""\ud83d\\ude00""#, r#""\ufffd\\ude00""#),
            (r#""\\\ud83d""#, r#""\\\ufffd""#),
            (r#""\ud83d\u0041""#, r#""\ufffd\u0041""#),
            (r#""a\u0000b""#, r#""a\ufffdb""#),
        ] {
            assert_eq!(legible(json), made, "{json}");
        }
    }

    #[test]
    fn what_is_legible_is_not_copied() {
        for json in [
            r#""\ud83d\ude00""#,
            r#""\uD83D\uDE00\n\"""#,
            r#""\\ud83d""#,
            r#""\\u0000\\\\u0000""#,
            r#""\u00e4 \u0001 \u{1f600}""#,
            "\"\u{1f600}\"",
            // Not JSON: it stays what it is, and is refused.
            r"\",
            r"\u",
            r"\ud8",
            r"\u+000",
            "\\\u{1f600}",
            "\\u\u{1f600}",
        ] {
            assert!(
                matches!(legible(json), Cow::Borrowed(it) if it == json),
                "{json}"
            );
        }
    }

    proptest! {
        #[test]
        fn every_string_that_is_json_can_be_read(
            escapes in prop::collection::vec(
                prop_oneof![
                    any::<u16>().prop_map(|unit| format!("\\u{unit:04x}")),
                    (0xd7f0..0xe010_u16).prop_map(|unit| format!("\\u{unit:04X}")),
                    prop::sample::select(vec!["\\\\", "\\\"", "\\n", "u", "d83d", "ä", "\u{1f600}"])
                        .prop_map(str::to_owned),
                ],
                0..20,
            ),
        ) {
            let json = format!("\"{}\"", escapes.concat());
            let text: String = serde_json::from_str(&legible(&json)).unwrap();
            prop_assert!(!text.contains('\0'));
            if let Ok(as_it_was) = serde_json::from_str::<String>(&json) {
                prop_assert_eq!(text, as_it_was.replace('\0', "\u{fffd}"));
            }
        }
    }
}
