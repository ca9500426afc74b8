//! The console: pages rendered by the server, for a person who signed in.
//!
//! Every page works without script; the one script shows alerts as a dialog. The policy allows no
//! inline script or style, so a stored text that slipped through escaping would still do nothing.
//! INVARIANT: nothing but the sign-in page, its style sheet and the metrics' own check is served
//! without a session, and nothing is changed without the session's CSRF token.

mod assets;
mod pages;
pub mod session;

use crate::app::App;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderValue};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use std::sync::Arc;

/// What a browser may do with a page.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; \
    base-uri 'none'";
/// LIMIT: octets of a form.
const FORM_BYTES_MAX: usize = 16 * 1024;

/// The router of the console.
pub fn router(app: Arc<App>) -> Router {
    let inside = Router::new()
        .route("/", get(pages::status))
        .route("/verdict", get(pages::verdict))
        .route("/cases", get(pages::cases))
        .route("/cases/{id}", get(pages::case))
        .route("/alerts", get(pages::alerts))
        .route("/alerts/unseen", get(pages::unseen))
        .route("/alerts/{id}/seen", post(pages::mark_seen))
        .route("/leaves", get(pages::leaves))
        .route("/logout", post(pages::sign_out))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), signed_in));
    Router::new()
        .route("/login", get(pages::login).post(pages::sign_in))
        .route("/assets/console.css", get(assets::css))
        .route("/assets/console.js", get(assets::js))
        .route("/metrics", get(pages::metrics))
        .merge(inside)
        .layer(axum::extract::DefaultBodyLimit::max(FORM_BYTES_MAX))
        .layer(middleware::from_fn(headers))
        .with_state(app)
}

/// Lets only signed-in people through; they are known to the pages as an extension.
async fn signed_in(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let cookie = session::cookie_of(request.headers()).map(str::to_owned);
    let Some(cookie) = cookie else {
        return Redirect::to("/login").into_response();
    };
    let now = app.now();
    let looked = {
        let (app, cookie) = (Arc::clone(&app), cookie.clone());
        tokio::task::spawn_blocking(move || app.door.who(&app.store, &cookie, now)).await
    };
    match looked {
        Ok(Ok(Some(person))) => {
            request
                .extensions_mut()
                .insert(pages::Visitor { person, cookie });
            next.run(request).await
        }
        _ => Redirect::to("/login").into_response(),
    }
}

async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000"),
    ];
    for (name, value) in fixed {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::POLICY;

    #[test]
    fn the_policy_has_no_unsafe_source() {
        assert!(!POLICY.contains("unsafe"));
        assert!(POLICY.starts_with("default-src 'none'"));
    }
}
