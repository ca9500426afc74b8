//! `/apps/PROJECT/…`: the hosted assistant, reached through its sandbox.
//!
//! What an app and a person say to each other is opaque here: it passes authentication, breaker,
//! limit and record, but no shield and no filter. The model that the app asks is behind its own
//! door of this gateway, and every call through that door passes all of them.

use crate::error::GatewayError;
use crate::settle::Settlement;
use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    HeaderName, HeaderValue, IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame};
use ringfence_core::ids::ProjectId;
use ringfence_core::ports::{BoxFuture, Sandbox};
use ringfence_net::NetError;
use ringfence_net::body::{self, Body};
use ringfence_net::client::{ClientLimits, send_over_fd};
use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// LIMIT: milliseconds to get a connection into the sandbox.
pub const CONNECT_MS_MAX: u64 = 2_000;

/// Holds an instance of an app for one request; it is dropped when the answer has been read.
pub type Lease = Box<dyn Any + Send>;

/// A hosted app.
pub struct App {
    /// The sandbox it runs in.
    pub sandbox: Arc<dyn Sandbox>,
    /// The port it listens on, inside.
    pub port: u16,
    /// What holds it, if it is this request's alone.
    pub lease: Option<Lease>,
}

/// Which apps there are.
pub trait AppDirectory: Send + Sync {
    /// The app of a project; an instance for this request, if the project wants that.
    fn app<'a>(&'a self, project: &'a ProjectId) -> BoxFuture<'a, Option<App>>;
}

/// What an app sees of a request's headers: nothing that says who asks, and no key.
const TO_APP: [HeaderName; 5] = [
    ACCEPT,
    ACCEPT_LANGUAGE,
    CONTENT_TYPE,
    IF_NONE_MATCH,
    HeaderName::from_static("last-event-id"),
];
/// What a client sees of an app's headers: no cookie, no redirect, no policy of its own.
const FROM_APP: [HeaderName; 3] = [CONTENT_TYPE, CONTENT_LENGTH, CACHE_CONTROL];
/// Pages of an app run in an origin of their own: they share ours by address, and could
/// otherwise act as whoever is signed in to the console.
const POLICY: HeaderValue =
    HeaderValue::from_static("sandbox allow-scripts allow-forms; frame-ancestors 'none'");

/// Sends a request to an app and its answer back.
pub async fn forward(
    directory: &dyn AppDirectory,
    project: &ProjectId,
    target: &str,
    head: &Parts,
    content: Body,
    mut settlement: Settlement,
) -> Result<Response<Body>, GatewayError> {
    match call(directory, project, target, head, content).await {
        Ok((response, lease)) => {
            let (parts, content) = response.into_parts();
            settlement.facts.status = parts.status.as_u16();
            settlement.first_octet();
            let content = Settled {
                inner: content,
                settlement: Some(settlement),
                lease,
            };
            let mut response = Response::new(content.boxed_unsync());
            *response.status_mut() = parts.status;
            copy(&parts.headers, response.headers_mut(), &FROM_APP);
            let headers = response.headers_mut();
            headers.insert(CONTENT_SECURITY_POLICY, POLICY);
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            Ok(response)
        }
        Err(error) => {
            settlement.fail(&error, None);
            Err(error)
        }
    }
}

async fn call(
    directory: &dyn AppDirectory,
    project: &ProjectId,
    target: &str,
    head: &Parts,
    content: Body,
) -> Result<(Response<Body>, Option<Lease>), GatewayError> {
    let app = directory.app(project).await;
    let app = app.ok_or(GatewayError::AppUnknown)?;
    let connect = app.sandbox.connect(app.port);
    let socket = tokio::time::timeout(Duration::from_millis(CONNECT_MS_MAX), connect)
        .await
        .map_err(|_| GatewayError::AppDown)?
        .map_err(|_| GatewayError::AppDown)?;
    let content = if content.is_end_stream() {
        body::empty()
    } else {
        content
    };
    let mut request = Request::builder()
        .method(head.method.clone())
        .uri(target)
        .body(content)
        .map_err(|_| GatewayError::RouteUnknown)?;
    copy(&head.headers, request.headers_mut(), &TO_APP);
    let response = send_over_fd(socket, request, ClientLimits::default())
        .await
        .map_err(|_| GatewayError::AppDown)?;
    // An informational answer or a change of protocol would leave HTTP and every limit with it.
    if response.status().is_informational() {
        Err(GatewayError::AppDown)
    } else {
        Ok((response, app.lease))
    }
}

fn copy(from: &HeaderMap, to: &mut HeaderMap, names: &[HeaderName]) {
    for name in names {
        if let Some(value) = from.get(name) {
            to.insert(name, value.clone());
        }
    }
}

/// A body that settles when it ends.
struct Settled {
    inner: Body,
    settlement: Option<Settlement>,
    lease: Option<Lease>,
}

impl HttpBody for Settled {
    type Data = Bytes;
    type Error = NetError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, NetError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        match &polled {
            Poll::Ready(None) => {
                if let Some(mut settlement) = self.settlement.take() {
                    settlement.complete();
                }
            }
            // With a Content-Length nobody polls beyond the last octet, so the end is here already.
            Poll::Ready(Some(Ok(_))) if self.inner.is_end_stream() => {
                if let Some(mut settlement) = self.settlement.take() {
                    settlement.complete();
                }
            }
            Poll::Ready(Some(Err(_))) => {
                if let Some(mut settlement) = self.settlement.take() {
                    settlement.fail(&GatewayError::AppDown, None);
                }
            }
            _ => {}
        }
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.lease = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        // Never early: the end must be polled, so that it is settled.
        false
    }
}
