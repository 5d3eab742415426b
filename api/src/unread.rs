//! A call that was answered before its body was read to the end.
//!
//! The rest of the body stands before the next call of the connection, so HTTP/1 closes it. A client that is not told
//! so sends its next call into a connection that is closing, and never learns what became of it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Version};
use hyper::body::{Body as HttpBody, Frame, SizeHint};

/// A body that tells when it was read to the end.
struct Watched {
    body: Body,
    read: Arc<AtomicBool>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if matches!(frame, Poll::Ready(None)) || self.body.is_end_stream() {
            self.read.store(true, Ordering::Release);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Says `Connection: close` with an answer that leaves some of the call's body unread.
pub(crate) async fn middleware(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    if parts.version >= Version::HTTP_2 || body.is_end_stream() {
        return next.run(Request::from_parts(parts, body)).await;
    }
    let read = Arc::new(AtomicBool::new(false));
    let watched = Watched { body, read: Arc::clone(&read) };
    let mut response = next.run(Request::from_parts(parts, Body::new(watched))).await;
    if !read.load(Ordering::Acquire) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
