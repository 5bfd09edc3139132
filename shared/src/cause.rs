//! Errors in logs: with all that caused them, which no caller is told.

use std::error::Error;

/// An error and its sources, outermost first, each once: some repeat theirs.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use thiserror::Error;

    use super::*;

    #[derive(Debug, Error)]
    enum Failure {
        #[error("failed to open")]
        Silent(#[source] Box<Failure>),
        #[error("failed to connect: {0}")]
        Repeating(#[source] Box<Failure>),
        #[error("the host is unknown")]
        Innermost,
    }

    #[test]
    fn every_cause_is_named_once() {
        let error = Failure::Repeating(Box::new(Failure::Innermost));
        let error = Failure::Silent(Box::new(error));
        assert_eq!(
            chain(&error),
            "failed to open: failed to connect: the host is unknown"
        );
    }
}
