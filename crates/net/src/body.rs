//! The one body type of requests and responses, and the limits a body from outside has.

use crate::error::NetError;
use bytes::{Bytes, BytesMut};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// A body that can be streamed, of any origin.
pub type Body = UnsyncBoxBody<Bytes, NetError>;

/// A body of known content.
pub fn full(content: impl Into<Bytes>) -> Body {
    Full::new(content.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// No content.
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// Any other body; its errors become [`NetError::Broken`].
pub fn boxed<B>(body: B) -> Body
where
    B: HttpBody<Data = Bytes> + Send + 'static,
{
    body.map_err(|_| NetError::Broken).boxed_unsync()
}

/// Reads a body whole; longer than `limit` octets is an error.
pub async fn collect(body: Body, limit: usize) -> Result<Bytes, NetError> {
    let mut body = body;
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            if data.len() > limit - whole.len() {
                return Err(NetError::TooLong { limit });
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(whole.freeze())
}

/// What a body from outside may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimits {
    /// Octets altogether.
    pub bytes_max: usize,
    /// Milliseconds without one more octet.
    pub idle_ms: u64,
}

/// A body that ends with an error when it is too long or stalls.
pub struct Limited<B> {
    inner: B,
    limits: BodyLimits,
    left: usize,
    timer: Pin<Box<Sleep>>,
}

impl<B> Limited<B> {
    /// Puts limits on a body.
    pub fn new(inner: B, limits: BodyLimits) -> Self {
        let timer = Box::pin(tokio::time::sleep(Duration::from_millis(limits.idle_ms)));
        Self {
            inner,
            limits,
            left: limits.bytes_max,
            timer,
        }
    }
}

impl<B> HttpBody for Limited<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = NetError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, NetError>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                let Some(left) = self.left.checked_sub(length) else {
                    return Poll::Ready(Some(Err(NetError::TooLong {
                        limit: self.limits.bytes_max,
                    })));
                };
                self.left = left;
                let deadline = Instant::now() + Duration::from_millis(self.limits.idle_ms);
                self.timer.as_mut().reset(deadline);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(NetError::Broken))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => match self.timer.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(Some(Err(NetError::Timeout {
                    what: "the next part of a body",
                    limit_ms: self.limits.idle_ms,
                }))),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: BodyLimits = BodyLimits {
        bytes_max: 8,
        idle_ms: 50,
    };

    #[tokio::test]
    async fn a_body_is_read_at_the_limit_and_refused_one_above() {
        assert_eq!(
            collect(full("12345678"), 8).await,
            Ok(Bytes::from("12345678"))
        );
        assert_eq!(
            collect(full("123456789"), 8).await,
            Err(NetError::TooLong { limit: 8 })
        );
        let limited = |text: &'static str| Limited::new(full(text), LIMITS).boxed_unsync();
        assert_eq!(
            collect(limited("12345678"), 99).await,
            Ok(Bytes::from("12345678"))
        );
        assert_eq!(
            collect(limited("123456789"), 99).await,
            Err(NetError::TooLong { limit: 8 })
        );
        assert_eq!(collect(empty(), 0).await, Ok(Bytes::new()));
    }

    struct Silent;
    impl HttpBody for Silent {
        type Data = Bytes;
        type Error = NetError;
        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, NetError>>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn a_body_that_stalls_ends_with_an_error() {
        let body = Limited::new(Silent, LIMITS).boxed_unsync();
        let outcome = collect(body, 8).await;
        assert_eq!(
            outcome,
            Err(NetError::Timeout {
                what: "the next part of a body",
                limit_ms: 50
            })
        );
    }
}
