//! One request to a named server, over TLS with an explicit list of authorities.
//!
//! The [`crate::client`] speaks to engines beside this machine; this module speaks to services
//! elsewhere, such as an object store. It follows no redirect and reads no proxy settings either.
//!
//! INVARIANT: plain HTTP goes to loopback only. What leaves the machine is encrypted.

use crate::body::Body;
use crate::client::{ClientLimits, send_over, within};
use crate::error::NetError;
use http::header::{HOST, HeaderValue};
use http::{Request, Response};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// LIMIT: octets of a file of authorities; the list of a Debian system has about 220 KiB.
pub const ROOTS_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The authorities that servers elsewhere are verified by.
#[derive(Clone)]
pub struct Roots(Arc<rustls::ClientConfig>);

impl Roots {
    /// The authorities of a PEM text, such as `/etc/ssl/certs/ca-certificates.crt`. One that cannot
    /// be read, or none at all, is an error.
    pub fn from_pem(text: &[u8]) -> Result<Self, NetError> {
        if text.len() > ROOTS_BYTES_MAX {
            return Err(NetError::TooLong {
                limit: ROOTS_BYTES_MAX,
            });
        }
        let wrong = |_| NetError::StoreConfig("the file of authorities is not PEM certificates");
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(text) {
            let certificate = certificate
                .map_err(|_| NetError::StoreConfig("the file of authorities is not PEM"))?;
            roots.add(certificate).map_err(wrong)?;
        }
        if roots.is_empty() {
            return Err(NetError::StoreConfig("the file of authorities names none"));
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(wrong)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }
}

impl std::fmt::Debug for Roots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Roots(..)")
    }
}

/// `https://host[:port]`, or `http://` on loopback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    tls: bool,
    host: String,
    port: u16,
}

impl Endpoint {
    /// The same service under a name in front of its own, as virtual-host addressing has it.
    #[must_use]
    pub fn below(&self, name: &str) -> Self {
        Self {
            host: format!("{name}.{}", self.host),
            ..self.clone()
        }
    }

    /// Whether the way there is encrypted.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Whether the host is an address instead of a name.
    pub fn is_address(&self) -> bool {
        bare(&self.host).parse::<IpAddr>().is_ok()
    }

    /// The value of `Host`: without a port where it is that of the scheme, RFC 9110 section 7.2.
    pub fn authority(&self) -> String {
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => self.host.clone(),
            _ => format!("{}:{}", self.host, self.port),
        }
    }

    /// Sends one request over a fresh connection to `connect`, which is this endpoint unless names
    /// below it are served by the same address. TLS without authorities is refused.
    pub async fn send(
        &self,
        connect: &Endpoint,
        roots: Option<&Roots>,
        mut request: Request<Body>,
        limits: ClientLimits,
    ) -> Result<Response<Body>, NetError> {
        let failed = |reason: String| NetError::Connect {
            address: self.to_string(),
            reason,
        };
        let host = HeaderValue::from_str(&self.authority()).map_err(|e| failed(e.to_string()))?;
        request.headers_mut().insert(HOST, host);
        let place = (bare(&connect.host), connect.port);
        let stream = within(limits.connect_ms, TcpStream::connect(place))
            .await
            .map_err(failed)?;
        stream
            .set_nodelay(true)
            .map_err(|e| failed(e.to_string()))?;
        if !self.tls {
            return send_over(stream, request, limits).await;
        }
        let roots = roots.ok_or(NetError::StoreConfig("no file of authorities for https"))?;
        let name =
            ServerName::try_from(bare(&self.host).to_owned()).map_err(|e| failed(e.to_string()))?;
        let handshake = TlsConnector::from(Arc::clone(&roots.0)).connect(name, stream);
        let stream = within(limits.connect_ms, handshake).await.map_err(failed)?;
        send_over(stream, request, limits).await
    }
}

/// An address as it is written outside of a URL: IPv6 without its brackets.
fn bare(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|h| h.strip_suffix(']'))
        .unwrap_or(host)
}

impl FromStr for Endpoint {
    type Err = NetError;

    fn from_str(text: &str) -> Result<Self, NetError> {
        let wrong = || NetError::StoreConfig("the endpoint is not https://host[:port]");
        let uri: http::Uri = text.parse().map_err(|_| wrong())?;
        let authority = uri.authority().ok_or_else(wrong)?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong()),
        };
        let plain = uri.path() == "/" && uri.query().is_none();
        if !plain || authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(wrong());
        }
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        // A port that is written and is no number reads as none above; it must not mean the default.
        let written = authority.as_str().len() > authority.host().len();
        if port == 0 || (written && authority.port_u16().is_none()) {
            return Err(wrong());
        }
        let host = authority.host().to_ascii_lowercase();
        let loopback = bare(&host)
            .parse::<IpAddr>()
            .map_or(host == "localhost", |ip| ip.is_loopback());
        if !tls && !loopback {
            return Err(NetError::StoreConfig(
                "plain http leaves this machine; write https",
            ));
        }
        Ok(Self { tls, host, port })
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_encrypted_unless_it_is_this_machine() {
        for (text, authority) in [
            (
                "https://s3.eu-central-1.amazonaws.com",
                "s3.eu-central-1.amazonaws.com",
            ),
            ("https://Store.example:9000/", "store.example:9000"),
            ("https://store.example:443", "store.example"),
            ("http://127.0.0.1:9000", "127.0.0.1:9000"),
            ("http://[::1]:9000", "[::1]:9000"),
            ("http://localhost", "localhost"),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.authority(), authority);
        }
        for text in [
            "http://store.example",
            "http://192.0.2.1:9000",
            "http://localhost.example",
            "https://a@b",
            "https://a/b",
            "https://a?b",
            "https://a:0",
            "https://a:99999",
            "https://",
            "s3://bucket",
            "",
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_bucket_stands_in_front_of_the_name() {
        let endpoint: Endpoint = "https://s3.example:9000".parse().unwrap();
        assert_eq!(endpoint.below("b").authority(), "b.s3.example:9000");
    }

    #[test]
    fn a_file_of_no_authorities_is_refused() {
        for text in [
            &b""[..],
            b"text",
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            assert!(Roots::from_pem(text).is_err());
        }
        assert!(matches!(
            Roots::from_pem(&vec![b'#'; ROOTS_BYTES_MAX + 1]),
            Err(NetError::TooLong { .. })
        ));
        assert!(matches!(
            Roots::from_pem(&vec![b'#'; ROOTS_BYTES_MAX]),
            Err(NetError::StoreConfig(_))
        ));
    }
}
