//! Names, addresses and connections, against a name server of the test.

use ringfence_net::dns::{Question, Rcode, TYPE_A};
use ringfence_net::guard::{Guard, Kind};
use ringfence_net::host::Authority;
use ringfence_net::reach::{DialError, Dialer};
use ringfence_net::resolver::{LookupError, Resolver};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A name server that knows three names, and counts what it is asked.
struct Names {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

fn addresses(name: &str, round: usize) -> Option<Vec<Ipv4Addr>> {
    let public = Ipv4Addr::new(93, 184, 216, 34);
    match name {
        "here.example" => Some(vec![Ipv4Addr::LOCALHOST]),
        "both.example" => Some(vec![public, Ipv4Addr::new(10, 0, 0, 1)]),
        "empty.example" => Some(Vec::new()),
        // Public when it is looked at, private when it would be used.
        "rebinding.example" if round < 2 => Some(vec![public]),
        "rebinding.example" => Some(vec![Ipv4Addr::new(169, 254, 169, 254)]),
        _ => None,
    }
}

impl Names {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                while let Ok(length) = stream.read_u16().await {
                    let mut bytes = vec![0; usize::from(length)];
                    stream.read_exact(&mut bytes).await.unwrap();
                    let question = Question::parse(&bytes).unwrap();
                    let name = question.name.clone().unwrap();
                    let round = counter.fetch_add(1, Ordering::Relaxed);
                    let answer = match addresses(name.as_str(), round) {
                        Some(list) if question.kind == TYPE_A => {
                            question.answer(Rcode::NoError, &list, 0)
                        }
                        Some(_) => question.answer(Rcode::NoError, &[], 0),
                        None => question.answer(Rcode::NxDomain, &[], 0),
                    };
                    let length = u16::try_from(answer.len()).unwrap();
                    stream.write_u16(length).await.unwrap();
                    stream.write_all(&answer).await.unwrap();
                }
            }
        });
        Self {
            address,
            asked,
            _tasks: tasks,
        }
    }

    fn dialer(&self, guard: Guard) -> Dialer {
        // The first server is not there: the second is asked.
        let absent = SocketAddr::from(([127, 0, 0, 1], 1));
        Dialer::new(Resolver::new([absent, self.address]), guard)
    }
}

fn authority(name: &str, port: u16) -> Authority {
    Authority::parse(name, port).unwrap()
}

#[tokio::test]
async fn a_name_that_leads_to_this_machine_is_refused_and_connected_to_with_the_guard_off() {
    let names = Names::start().await;
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = authority("here.example", target.local_addr().unwrap().port());
    let refused = names.dialer(Guard::default()).connect(&to).await;
    let here = Ipv4Addr::LOCALHOST.into();
    assert_eq!(
        refused.err(),
        Some(DialError::Forbidden(here, Kind::Loopback))
    );
    let stream = names
        .dialer(Guard::danger_off())
        .connect(&to)
        .await
        .unwrap();
    let (_, peer) = target.accept().await.unwrap();
    assert_eq!(stream.local_addr().unwrap(), peer);
}

#[tokio::test]
async fn one_private_address_among_public_ones_spoils_the_name() {
    let names = Names::start().await;
    let refused = names
        .dialer(Guard::default())
        .connect(&authority("both.example", 1))
        .await;
    assert!(matches!(
        refused,
        Err(DialError::Forbidden(_, Kind::Private))
    ));
}

#[tokio::test]
async fn what_was_judged_is_what_is_used() {
    let names = Names::start().await;
    let name = "rebinding.example".parse().unwrap();
    let dialer = names.dialer(Guard::default());
    assert_eq!(dialer.addresses(&name).await.unwrap().len(), 1);
    // The answer has changed: each connection judges what it will use, not what was used before.
    let changed = dialer.addresses(&name).await;
    assert!(matches!(
        changed,
        Err(DialError::Forbidden(_, Kind::Metadata))
    ));
    assert_eq!(names.asked.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn a_name_without_address_and_a_silent_server_are_told_apart() {
    let names = Names::start().await;
    for name in ["empty.example", "unknown.example"] {
        let answer = names
            .dialer(Guard::default())
            .connect(&authority(name, 1))
            .await;
        assert_eq!(
            answer.err(),
            Some(DialError::Lookup(LookupError::NoAddress))
        );
    }
    let nobody = Dialer::new(Resolver::new([]), Guard::default());
    let answer = nobody.connect(&authority("here.example", 1)).await;
    assert!(matches!(
        answer,
        Err(DialError::Lookup(LookupError::Unanswered(_)))
    ));
}
