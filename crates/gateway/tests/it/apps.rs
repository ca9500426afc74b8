//! The hosted app behind its sandbox.

use crate::scripted::{Act, Scripted, plain};
use crate::world::{World, project, read};
use http::Request;
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_core::ids::{ProjectId, SandboxId};
use ringfence_core::isolation::{Attestation, Door, ExecRequest, ProcessEvidence, SandboxStats};
use ringfence_core::leaf::Outcome;
use ringfence_core::ports::{BoxFuture, Running, Sandbox};
use ringfence_gateway::config::GuardConfig;
use ringfence_gateway::{App, Peer};
use ringfence_net::body;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// A sandbox that can only be connected to.
struct Box1 {
    id: SandboxId,
    project: ProjectId,
    attestation: Attestation,
    address: Option<String>,
}

fn refused<T>() -> BoxFuture<'static, Result<T, Explained>> {
    Box::pin(async { Err(Explained::new(ErrorCode("run/test"), "not here", "nothing")) })
}

impl Sandbox for Box1 {
    fn id(&self) -> &SandboxId {
        &self.id
    }
    fn project(&self) -> &ProjectId {
        &self.project
    }
    fn attestation(&self) -> &Attestation {
        &self.attestation
    }
    fn take_doors(&self) -> Vec<(Door, OwnedFd)> {
        Vec::new()
    }
    fn exec(&self, _: ExecRequest) -> BoxFuture<'_, Result<Running, Explained>> {
        refused()
    }
    fn connect(&self, port: u16) -> BoxFuture<'_, Result<OwnedFd, Explained>> {
        assert_eq!(port, 8000);
        match &self.address {
            Some(address) => {
                let stream = std::net::TcpStream::connect(address).unwrap();
                Box::pin(async move { Ok(OwnedFd::from(stream)) })
            }
            None => refused(),
        }
    }
    fn signal(&self, _: u64, _: i32) -> BoxFuture<'_, Result<(), Explained>> {
        refused()
    }
    fn freeze(&self, _: bool) -> BoxFuture<'_, Result<(), Explained>> {
        refused()
    }
    fn evidence(&self) -> BoxFuture<'_, Result<Vec<ProcessEvidence>, Explained>> {
        refused()
    }
    fn stats(&self) -> BoxFuture<'_, Result<SandboxStats, Explained>> {
        refused()
    }
    fn close(&self) -> BoxFuture<'_, Result<(), Explained>> {
        refused()
    }
}

fn hosting(address: Option<&str>) -> World {
    let world = World::demo(GuardConfig::default());
    let sandbox = Arc::new(Box1 {
        id: "sb-1".parse().unwrap(),
        project: project(),
        attestation: Attestation::default(),
        address: address.map(str::to_owned),
    });
    world.apps.0.lock().unwrap().insert(
        project(),
        App {
            sandbox,
            port: 8000,
            lease: None,
        },
    );
    world
}

const PAGE: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nset-cookie: session=stolen\r\n\
location: http://evil.example\r\ncontent-length: 5\r\n\r\nhello";

#[tokio::test]
async fn an_app_answers_through_its_sandbox_and_headers_are_filtered_both_ways() {
    let server = Scripted::start(vec![Act::Send(PAGE.as_bytes().to_vec())]).await;
    let world = hosting(Some(server.address.authority()));
    let response = world.send("POST", "/apps/mail/ask?x=1", "question").await;
    assert_eq!(response.status(), 200);
    let headers = response.headers().clone();
    assert!(headers.get("set-cookie").is_none() && headers.get("location").is_none());
    assert!(
        headers["content-security-policy"]
            .to_str()
            .unwrap()
            .starts_with("sandbox ")
    );
    assert_eq!(read(response).await, (200, "hello".to_owned()));
    let seen = server.requests().remove(0);
    assert!(
        seen.starts_with("POST /ask?x=1 HTTP/1.1\r\n") && seen.ends_with("question"),
        "{seen}"
    );
    assert!(
        !seen.contains("rf_") && !seen.contains("authorization"),
        "{seen}"
    );
    let leaf = world.leaves.wait(1).await.remove(0);
    assert_eq!(
        (leaf.outcome, leaf.object.as_str()),
        (Outcome::Ok, "/apps/")
    );
}

#[tokio::test]
async fn an_answer_of_known_length_is_settled_at_its_last_octet() {
    use http_body_util::BodyExt as _;
    let server = Scripted::start(vec![Act::Send(PAGE.as_bytes().to_vec())]).await;
    let world = hosting(Some(server.address.authority()));
    let mut body = world
        .send("POST", "/apps/mail/ask", "question")
        .await
        .into_body();
    let mut read = 0;
    // As hyper does: not one poll beyond the length that was announced.
    while read < "hello".len() {
        read += body
            .frame()
            .await
            .unwrap()
            .unwrap()
            .into_data()
            .unwrap()
            .len();
    }
    drop(body);
    assert_eq!(world.leaves.wait(1).await.remove(0).outcome, Outcome::Ok);
}

#[tokio::test]
async fn a_signed_in_person_reaches_an_app_and_no_model() {
    let server = Scripted::start(vec![Act::Send(plain(200, "text/plain", "hi"))]).await;
    let world = hosting(Some(server.address.authority()));
    let get = |path: &str| Request::builder().uri(path).body(body::empty()).unwrap();
    let person = || Peer::Console {
        user: "admin".to_owned(),
    };
    let response = world.gateway.handle(get("/apps/mail/"), person()).await;
    assert_eq!(read(response).await, (200, "hi".to_owned()));
    assert_eq!(world.leaves.wait(1).await[0].actor, "user:admin");
    assert_eq!(
        world
            .gateway
            .handle(get("/v1/models"), person())
            .await
            .status(),
        401
    );
}

#[tokio::test]
async fn an_app_that_is_down_is_a_502_and_an_unknown_one_a_404() {
    let world = hosting(None);
    let (status, text) = world.ask("GET", "/apps/mail/", "").await;
    assert_eq!(status, 502);
    assert!(text.contains("run/app-down"), "{text}");
    assert_eq!(world.events.of("run.app.failed").len(), 1);
    let (status, _) = world.ask("GET", "/apps/other/", "").await;
    assert_eq!(status, 404);
    let server = Scripted::start(vec![Act::Send(b"garbage\r\n\r\n".to_vec())]).await;
    let world = hosting(Some(server.address.authority()));
    assert_eq!(world.ask("GET", "/apps/mail/", "").await.0, 502);
}

#[tokio::test]
async fn an_app_needs_a_key_and_is_limited_and_recorded() {
    let world = hosting(None);
    let request = Request::builder()
        .uri("/apps/mail/")
        .body(body::empty())
        .unwrap();
    let response = world.gateway.handle(request, crate::world::remote()).await;
    assert_eq!(response.status(), 401);
    let key = world.mint(1, None);
    assert_eq!(
        world.send_as(&key, "GET", "/apps/mail/", "").await.status(),
        502
    );
    assert_eq!(
        world.send_as(&key, "GET", "/apps/mail/", "").await.status(),
        429
    );
    world
        .leaves
        .refuse
        .store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(world.ask("GET", "/apps/mail/", "").await.0, 503);
}
