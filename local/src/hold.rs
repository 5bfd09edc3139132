//! The holding back of small chunks that is reported of Lambda: one that is smaller than so many bytes goes
//! out with the next, or after a second.
//!
//! <https://github.com/aws/aws-lambda-nodejs-runtime-interface-client/issues/102>,
//! <https://github.com/H4ad/serverless-adapter/issues/166>.

use std::{future::pending, time::Duration};

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};

/// How long a chunk is held back.
const HELD_FOR: Duration = Duration::from_secs(1);

/// What of an answer is held back.
pub(crate) struct Hold {
    below: usize,
    held: Option<(Bytes, Instant)>,
}

impl Hold {
    /// Holds back what has fewer bytes.
    pub(crate) fn new(below: usize) -> Self {
        Hold { below, held: None }
    }

    /// Takes a chunk. Returns those that go out now, in order.
    pub(crate) fn take(&mut self, chunk: Bytes) -> impl Iterator<Item = Bytes> + use<> {
        let before = self.rest();
        let is_held = chunk.len() < self.below;
        if is_held {
            self.held = Some((chunk.clone(), Instant::now() + HELD_FOR));
        }
        before.into_iter().chain((!is_held).then_some(chunk))
    }

    /// Waits until what is held has been for long enough; for ever where nothing is.
    pub(crate) async fn is_over(&self) {
        match self.held {
            Some((_, until)) => sleep_until(until).await,
            None => pending().await,
        }
    }

    /// What is held, to go out.
    pub(crate) fn rest(&mut self) -> Option<Bytes> {
        self.held.take().map(|(chunk, _)| chunk)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn taken(hold: &mut Hold, chunk: &'static str) -> Vec<Bytes> {
        hold.take(Bytes::from(chunk)).collect()
    }

    #[tokio::test]
    async fn a_small_chunk_goes_out_with_the_next_or_after_a_second() {
        let mut hold = Hold::new(4);
        assert!(taken(&mut hold, "one").is_empty());
        assert_eq!(taken(&mut hold, "two"), ["one"]);
        assert_eq!(taken(&mut hold, "three"), ["two", "three"]);
        assert!(hold.is_over().now_or_never().is_none());
        assert!(taken(&mut hold, "end").is_empty());
        assert!(hold.is_over().now_or_never().is_none());
        hold.is_over().await;
        assert_eq!(hold.rest().as_deref(), Some(&b"end"[..]));
        assert_eq!(hold.rest(), None);
    }

    #[test]
    fn nothing_is_held_where_nobody_asks_for_it() {
        let mut hold = Hold::new(0);
        assert_eq!(taken(&mut hold, ""), [""]);
        assert_eq!(taken(&mut hold, "a"), ["a"]);
    }
}
