//! However a function's answer is cut into chunks, the same is read of it.
//!
//! An input is a streamed answer: prelude, eight NULs, body.

#![no_main]

use std::{iter::repeat_n, sync::LazyLock};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use libfuzzer_sys::fuzz_target;
use tokio::{
    runtime::{Builder, Runtime},
    sync::mpsc,
};

use crate::{
    invocation::Answer,
    prelude::{CONTENT_TYPE, Prelude, PreludeParser},
};

#[path = "../../local/src/function_url.rs"]
#[allow(dead_code, reason = "the way there is another target's")]
mod function_url;
#[path = "../../local/src/invocation.rs"]
#[allow(dead_code, reason = "only its types are named here")]
mod invocation;
#[path = "../../local/src/prelude.rs"]
mod prelude;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().build().unwrap());

fuzz_target!(|data: &[u8]| {
    let whole = read([data]);
    for size in [1, 2, 3, 7, 8, 9, 64] {
        assert_eq!(read(data.chunks(size)), whole, "chunks of {size}");
    }
    let irregular = data.iter().map(|byte| usize::from(byte % 16));
    assert_eq!(read(cut(data, irregular)), whole, "irregular chunks");
    if let Ok(Some((prelude, body))) = whole {
        check_response(data, &prelude, &body);
    }
});

type Read = Result<Option<(Prelude, Vec<u8>)>, &'static str>;

fn read<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Read {
    let mut parser = PreludeParser::default();
    let mut chunks = chunks.into_iter();
    while let Some(chunk) = chunks.next() {
        if let Some((prelude, first)) = parser.feed(chunk)? {
            let mut body = first.to_vec();
            chunks.for_each(|chunk| body.extend_from_slice(chunk));
            return Ok(Some((prelude, body)));
        }
    }
    Ok(None)
}

/// Chunks of these sizes; the last has the rest.
fn cut(data: &[u8], sizes: impl Iterator<Item = usize>) -> Vec<&[u8]> {
    let mut rest = data;
    let mut chunks = Vec::new();
    for size in sizes {
        let (chunk, after) = rest.split_at(size.min(rest.len()));
        chunks.push(chunk);
        rest = after;
    }
    chunks.push(rest);
    chunks
}

/// The viewer gets what the prelude says and the body, or a 502.
fn check_response(data: &[u8], prelude: &Prelude, body: &[u8]) {
    let chunks = cut(data, repeat_n(data.len() / 2 + 1, 2));
    let (sender, receiver) = mpsc::channel(chunks.len());
    for chunk in chunks {
        let chunk = Bytes::copy_from_slice(chunk);
        sender.try_send(Ok(chunk)).expect("room for all");
    }
    drop(sender);
    let content_type = CONTENT_TYPE.parse().expect("a header's value");
    let answer = Answer {
        headers: HeaderMap::from_iter([(header::CONTENT_TYPE, content_type)]),
        is_error: false,
        body: receiver,
    };
    RUNTIME.block_on(async {
        let response = function_url::response(Ok(answer)).await;
        let (parts, sent) = response.into_parts();
        let sent = sent.collect().await.expect("a whole body").to_bytes();
        assert!(!parts.headers.contains_key(header::CONNECTION));
        if sent == body {
            let cookies = parts.headers.get_all(header::SET_COOKIE).iter().count();
            assert!(cookies >= prelude.cookies.len());
            let status = prelude.status_code.unwrap_or(200);
            assert_eq!(parts.status.as_u16(), status);
        } else {
            assert_eq!(parts.status, StatusCode::BAD_GATEWAY);
        }
    });
}
