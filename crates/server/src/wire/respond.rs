//! The network for alerts: one POST to the configured address, over the hardened client.

use ringfence_core::error::{ErrorCode, Explained};
use ringfence_core::ports::BoxFuture;
use ringfence_net::body::full;
use ringfence_net::client::{Address, Client, ClientLimits};
use ringfence_respond::Transport;

/// Posts to `http://host:port/path`.
pub struct Webhooks;

fn refused(url: &str) -> Explained {
    Explained::new(
        ErrorCode("respond/webhook-url"),
        format!("{url:?} is not a webhook"),
        "write http://host:port/path; for a receiver behind TLS put a local relay in front of it",
    )
}

/// Takes a URL apart into what is connected to and what is asked for.
pub fn parts(url: &str) -> Result<(Address, String), Explained> {
    let uri: http::Uri = url.parse().map_err(|_| refused(url))?;
    let authority = uri.authority().ok_or_else(|| refused(url))?;
    let scheme = uri.scheme_str().ok_or_else(|| refused(url))?;
    let address: Address = format!("{scheme}://{authority}/")
        .parse()
        .map_err(|_| refused(url))?;
    let path = uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
    Ok((address, path))
}

impl Transport for Webhooks {
    fn post<'a>(
        &'a self,
        url: &'a str,
        headers: &'a [(String, String)],
        body: Vec<u8>,
    ) -> BoxFuture<'a, Result<u16, Explained>> {
        Box::pin(async move {
            let (address, path) = parts(url)?;
            let mut request = http::Request::builder().method("POST").uri(path);
            for (name, value) in headers {
                request = request.header(name, value);
            }
            let request = request
                .body(full(body))
                .map_err(|e| refused(url).because(e))?;
            let client = Client::new(address, ClientLimits::default());
            let response = client.send(request).await.map_err(|e| Explained::of(&e))?;
            Ok(response.status().as_u16())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_is_plain_http_with_any_path() {
        let (address, path) = parts("http://127.0.0.1:9000/hooks/a?b=c").unwrap();
        assert_eq!(
            (address.authority(), path.as_str()),
            ("127.0.0.1:9000", "/hooks/a?b=c")
        );
        for wrong in [
            "https://example.com/",
            "ftp://x/",
            "/path",
            "http://user@host/",
        ] {
            assert_eq!(
                parts(wrong).unwrap_err().code,
                "respond/webhook-url",
                "{wrong}"
            );
        }
    }
}
