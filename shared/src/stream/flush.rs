//! A comment after what was sent, for whoever holds a small chunk back until another comes.

use std::{mem::take, task::Poll};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream::poll_fn};

/// Frames, and a comment of so many bytes after each that none follows at once; 0: none.
pub(super) fn flushed(
    frames: impl Stream<Item = Bytes> + Unpin,
    bytes: usize,
) -> impl Stream<Item = Bytes> {
    let comment = (bytes > 0).then(|| comment(bytes));
    let mut frames = frames;
    let mut is_owed = false;
    poll_fn(move |context| {
        let frame = frames.poll_next_unpin(context);
        match (&frame, &comment) {
            (Poll::Pending, Some(comment)) if take(&mut is_owed) => {
                return Poll::Ready(Some(comment.clone()));
            }
            (Poll::Ready(_), _) => is_owed = true,
            _ => {}
        }
        frame
    })
}

/// WHATWG HTML, section 9.2.6: a line that begins with a colon is ignored.
fn comment(bytes: usize) -> Bytes {
    format!(":{:1$}\n\n", "", bytes.saturating_sub(3)).into()
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, stream};
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_comment_follows_what_none_follows_at_once() {
        let (sender, mut receiver) = mpsc::channel(4);
        let frames = poll_fn(move |context| receiver.poll_recv(context));
        let mut frames = flushed(frames, 8);
        for frame in ["one", "two"] {
            sender.send(Bytes::from(frame)).await.unwrap();
        }
        let comment = ":     \n\n";
        assert_eq!(comment.len(), 8);
        for expected in ["one", "two", comment] {
            assert_eq!(frames.next().await.unwrap(), expected);
        }
        assert!(frames.next().now_or_never().is_none(), "once");
        sender.send(Bytes::from("three")).await.unwrap();
        drop(sender);
        let rest: Vec<_> = frames.collect().await;
        assert_eq!(rest, ["three"], "the end brings it");
    }

    #[tokio::test]
    async fn without_a_size_there_is_none() {
        let waiting = stream::iter([Bytes::from("one")]).chain(stream::pending());
        let mut frames = flushed(Box::pin(waiting), 0);
        assert_eq!(frames.next().await.unwrap(), "one");
        assert!(frames.next().now_or_never().is_none());
    }
}
