//! The local authority: made once, reused, renewed in time, and trusted for this machine only.

use crate::world::{At, Server, Sevens};
use ringfence_core::time::{DAY_MS, Timestamp};
use ringfence_net::body;
use ringfence_net::client::{ClientLimits, send_over_tls};
use ringfence_net::https::{Endpoint, Roots};
use ringfence_net::listen::ServeLimits;
use ringfence_net::tls::{CERTIFICATE_DAYS, LocalAuthority, RENEW_DAYS};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Certificates are checked against the real clock by the client, so they are made for now.
fn today() -> i64 {
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().metadata().unwrap().modified().unwrap();
    let since = made.duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

fn open(dir: &Path, now: i64) -> LocalAuthority {
    LocalAuthority::open_or_create(dir, &At(now), &Sevens).unwrap()
}

fn read(dir: &Path, name: &str) -> String {
    std::fs::read_to_string(dir.join(name)).unwrap()
}

#[test]
fn keys_are_readable_by_their_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("tls");
    open(&dir, today());
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    for key in ["ca.key", "server.key"] {
        assert_eq!(mode(&dir.join(key)), 0o600, "{key}");
    }
}

#[test]
fn what_was_made_is_reused_until_it_is_about_to_end() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, now) = (folder.path(), 1_790_000_000_000 / DAY_MS * DAY_MS);
    let first = open(dir, now);
    assert_eq!(
        first.valid_until(),
        Timestamp(now + CERTIFICATE_DAYS * DAY_MS)
    );
    let (authority, certificate) = (read(dir, "ca.pem"), read(dir, "server.pem"));
    let last_good = now + (CERTIFICATE_DAYS - RENEW_DAYS) * DAY_MS;
    open(dir, last_good - 1);
    assert_eq!(read(dir, "server.pem"), certificate);
    let renewed = open(dir, last_good);
    assert_ne!(read(dir, "server.pem"), certificate);
    assert_eq!(
        read(dir, "ca.pem"),
        authority,
        "the authority stays: nobody has to trust anew"
    );
    assert_eq!(renewed.authority_pem(), authority);
    std::fs::remove_file(dir.join("ca.key")).unwrap();
    open(dir, last_good);
    assert_ne!(read(dir, "ca.pem"), authority);
}

#[tokio::test]
async fn a_client_that_trusts_the_authority_connects_and_another_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let now = today();
    let authority = open(&folder.path().join("a"), now);
    let stranger = open(&folder.path().join("b"), now);
    let config = authority.server_config().unwrap();
    let server = Server::start(Some(config), ServeLimits::default()).await;
    let get = || {
        http::Request::builder()
            .uri("/tls")
            .body(body::empty())
            .unwrap()
    };
    let limits = ClientLimits::default();
    let response = send_over_tls(server.address, authority.authority_pem(), get(), limits)
        .await
        .unwrap();
    let text = body::collect(response.into_body(), 99).await.unwrap();
    assert!(text.starts_with(b"/tls "));
    let refused = send_over_tls(server.address, stranger.authority_pem(), get(), limits).await;
    assert!(refused.is_err());
    assert!(
        !server
            .raw(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .contains("200")
    );
    server.end().await;
}

#[tokio::test]
async fn a_named_server_is_verified_by_the_authorities_given_and_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let now = today();
    let authority = open(&folder.path().join("a"), now);
    let stranger = open(&folder.path().join("b"), now);
    let config = authority.server_config().unwrap();
    let server = Server::start(Some(config), ServeLimits::default()).await;
    let port = server.address.port();
    let endpoint: Endpoint = format!("https://localhost:{port}").parse().unwrap();
    let elsewhere: Endpoint = format!("https://store.example:{port}").parse().unwrap();
    let roots = Roots::from_pem(authority.authority_pem().as_bytes()).unwrap();
    let strange = Roots::from_pem(stranger.authority_pem().as_bytes()).unwrap();
    let ask = async |name: &Endpoint, roots: Option<&Roots>| {
        let request = http::Request::builder()
            .uri("/tls")
            .body(body::empty())
            .unwrap();
        let limits = ClientLimits::default();
        name.send(&endpoint, roots, request, limits).await
    };
    let response = ask(&endpoint, Some(&roots)).await.unwrap();
    let text = body::collect(response.into_body(), 99).await.unwrap();
    assert!(text.starts_with(b"/tls "));
    assert!(ask(&endpoint, Some(&strange)).await.is_err());
    assert!(ask(&elsewhere, Some(&roots)).await.is_err());
    assert!(ask(&endpoint, None).await.is_err());
    server.end().await;
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let Err(error) = LocalAuthority::open_or_create(&file.join("tls"), &At(1), &Sevens) else {
        panic!("made in a file");
    };
    assert!(format!("{error}").contains("file/tls"));
}
