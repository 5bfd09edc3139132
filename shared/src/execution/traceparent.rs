//! W3C Trace Context: <https://www.w3.org/TR/trace-context/#traceparent-header>.

use std::{fmt, str::FromStr};

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::InvalidWord;

/// How long it is; what follows is of a later version.
const LENGTH: usize = 55;

/// Of which trace something is, and what in it led to it: a `traceparent`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TraceParent(SpanContext);

impl TraceParent {
    /// The span that this names; `None` where there is none.
    #[must_use]
    pub fn of(span: &SpanContext) -> Option<Self> {
        span.is_valid().then(|| TraceParent(span.clone()))
    }

    /// What names a span.
    #[must_use]
    pub fn span(&self) -> &SpanContext {
        &self.0
    }

    /// Whether somebody keeps the trace.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.0.is_sampled()
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = self.0.trace_flags().to_u8();
        write!(
            f,
            "00-{}-{}-{flags:02x}",
            self.0.trace_id(),
            self.0.span_id()
        )
    }
}

impl FromStr for TraceParent {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        read(text)
            .and_then(|span| TraceParent::of(&span))
            .ok_or_else(|| {
                let taken = "a traceparent is one of W3C Trace Context, like \
                             00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
                InvalidWord(taken.to_owned())
            })
    }
}

fn read(text: &str) -> Option<SpanContext> {
    let (head, more) = text.split_at_checked(LENGTH)?;
    let is_hex = |part: &str| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let parts: Vec<&str> = head.split('-').filter(|part| is_hex(part)).collect();
    let [version, trace, span, flags] = *parts.as_slice() else {
        return None;
    };
    let is_whole = match version {
        "ff" => false,
        "00" => more.is_empty(),
        _ => more.is_empty() || more.starts_with('-'),
    };
    if !is_whole || [version.len(), trace.len(), span.len()] != [2, 32, 16] {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    Some(SpanContext::new(trace, span, flags, true, TraceState::NONE))
}

impl Serialize for TraceParent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TraceParent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn read(text: &str) -> Option<String> {
        let read: Result<TraceParent, _> = text.parse();
        read.ok().map(|it| it.to_string())
    }

    #[test]
    fn what_is_one_is_read_and_written() {
        for (flags, known) in [("00", "00"), ("01", "01"), ("ff", "01"), ("02", "00")] {
            let text = |flags| format!("00-{TRACE}-00f067aa0ba902b7-{flags}");
            assert_eq!(read(&text(flags)), Some(text(known)));
        }
        let later = format!("cc-{TRACE}-00f067aa0ba902b7-01-what.comes");
        let now = format!("00-{TRACE}-00f067aa0ba902b7-01");
        assert_eq!(read(&later), Some(now));
    }

    #[test]
    fn what_is_none_is_not_read() {
        let zeros = "0".repeat(32);
        for text in [
            String::new(),
            format!("00-{TRACE}-00f067aa0ba902b7"),
            format!("00-{TRACE}-00f067aa0ba902b7-0"),
            format!("00-{TRACE}-00f067aa0ba902b7-01-more"),
            format!("cc-{TRACE}-00f067aa0ba902b7-01more"),
            format!("ff-{TRACE}-00f067aa0ba902b7-01"),
            format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-00f067aa0ba902b-701"),
            format!("00-{TRACE}-+0f067aa0ba902b7-01"),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{zeros}-00f067aa0ba902b7-01"),
            format!("00-{TRACE}-00f067aa0ba90é-01"),
        ] {
            assert_eq!(read(&text), None, "{text}");
        }
    }
}
