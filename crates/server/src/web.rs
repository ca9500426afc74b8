//! Joins axum routers to the listeners of `net`.

use axum::Router;
use axum::body::Body as AxumBody;
use http::{Request, Response};
use ringfence_net::body::{Body, boxed};
use ringfence_net::listen::Origin;
use std::pin::Pin;
use tower_service::Service as _;

/// A future of an answer.
pub type Answer = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// A router as what a listener serves.
pub fn service(
    router: Router,
) -> impl Fn(Request<Body>, Origin) -> Answer + Clone + Send + Sync + 'static {
    move |request, _origin| {
        let mut router = router.clone();
        Box::pin(async move {
            let request = request.map(AxumBody::new);
            match router.call(request).await {
                Ok(response) => response.map(boxed),
                Err(never) => match never {},
            }
        })
    }
}
